"""Names that the corpus, the model folder and the origin agree on (prompt format 1).

Standard library only: the corpus and its tests import this without torch.
"""

MODEL_ID = "lede-nano-1"
PROMPT_FORMAT = 1
CONTEXT_TOKENS_MAX = 512

BEGIN = "<|begin|>"
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


def style_special(style):
    """The vocabulary entry that asks for `style`."""
    return f"<|style:{style}|>"


SPECIALS = (BEGIN, DESCRIPTION, CAPTION, TAG, END, *(style_special(style) for style in STYLES))


def prompt_text(style, description):
    """The prompt up to and including the marker after which the model writes."""
    return f"{BEGIN}{style_special(style)}{DESCRIPTION}{description}{CAPTION}"


def answer_text(caption, hashtags):
    """What the model learns to write after the prompt."""
    return caption + "".join(f"{TAG}{name}" for name in hashtags) + END


def model_manifest():
    """The content of `lede.json`, by which the origin finds its way in the vocabulary."""
    return {
        "id": MODEL_ID,
        "prompt_format": PROMPT_FORMAT,
        "context_tokens_max": CONTEXT_TOKENS_MAX,
        "special": {
            "begin": BEGIN,
            "description": DESCRIPTION,
            "caption": CAPTION,
            "tag": TAG,
            "end": END,
        },
        "styles": {style: style_special(style) for style in STYLES},
    }
