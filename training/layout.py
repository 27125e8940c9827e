"""Names that the corpus, the model folder and the origin agree on (prompt format 2).

Standard library only: the corpus and its tests import this without torch.
"""

MODEL_ID = "lede-nano-2"
PROMPT_FORMAT = 2
CONTEXT_TOKENS_MAX = 512

BEGIN = "<|begin|>"
INCLUDE = "<|include|>"
DESCRIPTION = "<|description|>"
CAPTION = "<|caption|>"
TAG = "<|tag|>"
END = "<|end|>"

STYLES = (
    "casual",
    "inspirational",
    "playful",
    "professional",
    "luxury",
    "educational",
    "storytelling",
    "minimal",
    "romantic",
    "bold",
    "promotional",
)
EMOJI_POLICIES = ("light", "rich")
CALLS_TO_ACTION = ("comment", "save", "share", "link", "shop")


def style_special(style):
    """The vocabulary entry that asks for `style`."""
    return f"<|style:{style}|>"


def emoji_special(policy):
    """The vocabulary entry that asks for emoji; without one there are none."""
    return f"<|emoji:{policy}|>"


def call_to_action_special(call):
    """The vocabulary entry that asks for a call to action; without one there is none."""
    return f"<|call:{call}|>"


SPECIALS = (
    BEGIN,
    INCLUDE,
    DESCRIPTION,
    CAPTION,
    TAG,
    END,
    *(style_special(style) for style in STYLES),
    *(emoji_special(policy) for policy in EMOJI_POLICIES),
    *(call_to_action_special(call) for call in CALLS_TO_ACTION),
)


def prompt_text(style, description, emoji="none", call_to_action="none", must_include=()):
    """The prompt up to and including the marker after which the model writes.

    Every text starts with a blank, so that its first word is cut into pieces like any other.
    """
    asked = style_special(style)
    asked += emoji_special(emoji) if emoji != "none" else ""
    asked += call_to_action_special(call_to_action) if call_to_action != "none" else ""
    asked += "".join(f"{INCLUDE} {phrase}" for phrase in must_include)
    return f"{BEGIN}{asked}{DESCRIPTION} {description}{CAPTION}"


def answer_text(caption, hashtags):
    """What the model learns to write after the prompt. Hashtags are words: the blanks between them are dropped later."""
    return f" {caption}" + "".join(f"{TAG} {words}" for words in hashtags) + END


def model_manifest():
    """The content of `lede.json`, by which the origin finds its way in the vocabulary."""
    return {
        "id": MODEL_ID,
        "prompt_format": PROMPT_FORMAT,
        "context_tokens_max": CONTEXT_TOKENS_MAX,
        "special": {
            "begin": BEGIN,
            "include": INCLUDE,
            "description": DESCRIPTION,
            "caption": CAPTION,
            "tag": TAG,
            "end": END,
        },
        "styles": {style: style_special(style) for style in STYLES},
        "emoji": {policy: emoji_special(policy) for policy in EMOJI_POLICIES},
        "calls_to_action": {call: call_to_action_special(call) for call in CALLS_TO_ACTION},
    }
