"""The corpus is deterministic, grounded in its descriptions, and valid. `python3 -m unittest discover -s training -t .`"""

import hashlib
import json
import random
import re
import unittest
from collections import Counter, defaultdict

from training.corpus import example, examples
from training.corpus.hashtags import CHARACTERS_MAX
from training.corpus.lexicon import SAID_KINDS, caption_words, frames, kinds, known_hashtags, said
from training.corpus.words import HELDOUT_SHARE, UNWANTED, Pool, bucket, pseudo_word
from training.layout import CALLS_TO_ACTION, CONTEXT_TOKENS_MAX, SPECIALS, STYLES, answer_text, model_manifest, prompt_text

SEED = 1
COUNT = 6000
DIGEST_EXAMPLES = 500
DIGEST = "078852e2454cfa9d249b0e4b941ea818d4462a2ed29b189eb2196d1aa087620c"
WRITTEN_MIN = 400  # texts written by hand, per style
KIND_FRAMES_MIN = 10
ENTRIES_MIN = 2000
SAID_MIN = 1800
INVENTED_SHARE_MIN = 0.5
DISTINCT_CAPTIONS_MIN = 0.99
CUES = {
    "comment": r"comment|tell us|tell me|let us know|let me know",
    "save": r"\bsave",
    "share": r"share|\btag|send this",
    "link": r"link in (our |my )?bio",
    "shop": r"shop|order|\bbuy",
}
SLOTS = {"X", "A", "N", "G", "R", "T", "O!", "E", "e", "M"}
EMOJI = re.compile("[\u2190-\u2bff\u3030\u3297\u3299\U0001f000-\U0001faff]")


def words(text):
    return re.findall(r"[^\W\d_]+", text.lower())


class Corpus(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.train = list(examples(SEED, 0, COUNT))
        cls.heldout = list(examples(SEED, 0, COUNT // 4, "heldout"))
        cls.all = cls.train + cls.heldout

    def test_the_same_seed_gives_the_same_text(self):
        digest = hashlib.sha256()
        for item in self.train[:DIGEST_EXAMPLES]:
            line = [item.style, item.description, item.caption, list(item.hashtags)]
            digest.update(json.dumps(line, ensure_ascii=False).encode("utf-8"))
        self.assertEqual(digest.hexdigest(), DIGEST)

    def test_an_example_does_not_depend_on_those_before_it(self):
        self.assertEqual(example(SEED, 123), self.train[123])
        self.assertNotEqual(example(SEED + 1, 123), self.train[123])

    def test_a_caption_shares_words_with_its_description(self):
        for item in self.all:
            self.assertTrue(set(words(item.caption)) & set(words(item.description)), item)

    def test_an_invented_word_of_the_description_is_copied_into_the_caption(self):
        for item in self.all:
            for word in item.invented:
                self.assertIn(word.lower(), item.description.lower(), item)
                self.assertIn(word.lower(), item.caption.lower(), item)

    def test_a_caption_has_no_number_that_neither_its_description_nor_its_caller_gave(self):
        for item in self.all:
            given = re.findall(r"\d+", " ".join((item.description, *item.asked.must_include)))
            self.assertLessEqual(set(re.findall(r"\d+", item.caption)), set(given), item)

    def test_every_word_of_a_caption_is_of_the_lexicon_or_of_the_request(self):
        lexicon = set(caption_words())
        for item in self.all:
            given = set(words(" ".join((item.description, *item.asked.must_include))))
            self.assertFalse(set(words(item.caption)) - lexicon - given, item)

    def test_every_hashtag_is_known_or_made_of_words_of_the_request(self):
        known = set(known_hashtags())
        for item in self.all:
            given = set(words(item.description))
            for name in item.hashtags:
                own = set(words(name)) <= given
                self.assertTrue(own or name.replace(" ", "").lower() in known, (name, item))

    def test_what_a_caller_insists_on_is_in_the_caption(self):
        for item in self.all:
            for phrase in item.asked.must_include:
                self.assertIn(phrase.lower(), item.caption.lower(), item)

    def test_a_call_to_action_is_there_when_asked_for(self):
        for item in self.all:
            if item.asked.call_to_action != "none":
                self.assertRegex(item.caption.lower(), CUES[item.asked.call_to_action])
            elif "bio" not in item.description:
                self.assertNotRegex(item.caption.lower(), CUES["link"])

    def test_emoji_come_only_when_asked_for_and_as_many(self):
        for item in self.all:
            count = len(EMOJI.findall(item.caption))
            least, most = {"none": (0, 0), "light": (1, 2), "rich": (3, 6)}[item.asked.emoji]
            self.assertTrue(least <= count <= most, item)

    def test_hashtags_are_unique_and_of_letters_and_digits(self):
        for item in self.all:
            names = [name.replace(" ", "").lower() for name in item.hashtags]
            self.assertEqual(len(set(names)), len(names), item)
            for name in names:
                self.assertTrue(name.isalnum() and not name.isdigit() and 3 <= len(name) <= CHARACTERS_MAX, item)

    def test_no_example_is_longer_than_the_context(self):
        # A token is about three bytes in practice.
        sizes = [len((prompt_text(i.style, i.description) + answer_text(i.caption, i.hashtags)).encode()) for i in self.all]
        within = sum(size <= 3 * CONTEXT_TOKENS_MAX for size in sizes) / len(sizes)
        self.assertGreater(within, 0.98)

    def test_every_style_has_hundreds_of_texts_and_its_share_of_examples(self):
        seen = Counter(item.style for item in self.train)
        for style in STYLES:
            self.assertGreaterEqual(len(set(frames()[style].texts())), WRITTEN_MIN, style)
            self.assertGreater(seen[style], COUNT / len(STYLES) / 2)

    def test_every_kind_has_frames_of_every_sort_in_every_style(self):
        for style in STYLES:
            own = frames()[style]
            for kind in kinds():
                fitting = [frame for frame in own.captions if kind in frame.kinds and not frame.needs]
                self.assertGreaterEqual(len(fitting), KIND_FRAMES_MIN, (style, kind))
            for kind in SAID_KINDS:
                for written in (own.echoes, own.openers, own.closers):
                    self.assertTrue([frame for frame in written if kind in frame.kinds], (style, kind))
            for call in CALLS_TO_ACTION:
                self.assertTrue(own.calls[call], (style, call))

    def test_a_frame_states_no_number_and_names_only_known_slots(self):
        for style in STYLES:
            for text in frames()[style].texts():
                self.assertNotRegex(text, r"[\d#]")
                self.assertLessEqual(set(re.findall(r"\{([^}]*)\}", text)), SLOTS, text)
                self.assertEqual(text.count("["), text.count("]"), text)

    def test_a_caption_has_no_slot_left_and_no_special(self):
        for item in self.all:
            self.assertNotRegex(item.caption, r"[\[\]{}#]|  ")
            self.assertFalse(any(special in item.caption + item.description for special in SPECIALS))

    def test_held_out_scenes_descriptions_and_words_are_never_trained_on(self):
        entries = [entry for kind in kinds().values() for entry in kind.entries]
        lines = [line for of_kind in said().values() for line in of_kind]
        self.assertGreaterEqual(len(entries), ENTRIES_MIN)
        self.assertGreaterEqual(len(lines), SAID_MIN)
        self.assertTrue(all(any(entry.heldout for entry in kind.entries) for kind in kinds().values()))
        started = {re.split(r"[{]", line.text)[0].strip().lower() for line in lines if line.heldout}
        started = {text for text in started if len(text.split()) > 4}
        for item in self.train:
            self.assertFalse([text for text in started if item.description.lower().startswith(text)], item)
        rng = random.Random(SEED)
        self.assertTrue(all(bucket(pseudo_word(rng, Pool(True)), HELDOUT_SHARE) == 0 for _ in range(50)))
        self.assertTrue(all(bucket(pseudo_word(rng, Pool()), HELDOUT_SHARE) != 0 for _ in range(500)))

    def test_more_than_half_of_the_examples_hold_an_invented_word(self):
        share = sum(bool(item.invented) for item in self.train) / len(self.train)
        self.assertGreater(share, INVENTED_SHARE_MIN)

    def test_captions_are_rarely_repeated(self):
        self.assertGreater(len({item.caption for item in self.train}) / len(self.train), DISTINCT_CAPTIONS_MIN)

    def test_invented_words_are_fit_to_print(self):
        rng = random.Random(SEED)
        self.assertFalse([word for word in (pseudo_word(rng, Pool()) for _ in range(3000)) if UNWANTED.search(word)])

    def test_a_style_does_not_lean_on_few_frames(self):
        openings = defaultdict(Counter)
        for item in self.train:
            openings[item.style][" ".join(words(item.caption)[:3])] += 1
        for style, counted in openings.items():
            self.assertLess(counted.most_common(1)[0][1] / sum(counted.values()), 0.1, style)


class Layout(unittest.TestCase):
    def test_the_manifest_names_every_special_once(self):
        manifest = model_manifest()
        groups = ("special", "styles", "emoji", "calls_to_action")
        self.assertEqual(sorted(name for group in groups for name in manifest[group].values()), sorted(SPECIALS))
        self.assertEqual(list(manifest["styles"]), list(STYLES))

    def test_an_answer_ends_and_separates_its_hashtags(self):
        self.assertEqual(answer_text("Hi.", ["a1b", "blue sea"]), " Hi.<|tag|> a1b<|tag|> blue sea<|end|>")

    def test_a_prompt_names_only_what_is_asked_for(self):
        self.assertEqual(prompt_text("bold", "Hi"), "<|begin|><|style:bold|><|description|> Hi<|caption|>")
        asked = prompt_text("bold", "Hi", "rich", "save", ("Brisko", "@mio"))
        self.assertEqual(
            asked,
            "<|begin|><|style:bold|><|emoji:rich|><|call:save|><|include|> Brisko<|include|> @mio<|description|> Hi<|caption|>",
        )


if __name__ == "__main__":
    unittest.main()
