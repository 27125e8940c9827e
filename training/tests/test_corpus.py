"""The corpus is deterministic, grounded in its descriptions, and valid. `python3 -m unittest discover -s training -t .`"""

import hashlib
import json
import random
import re
import unittest
from collections import Counter, defaultdict

from training.corpus import example, examples
from training.corpus.hashtags import CHARACTERS_MAX, slug
from training.corpus.lexicon import frames, kinds
from training.corpus.words import HELDOUT_SHARE, UNWANTED, Pool, bucket, pseudo_word
from training.layout import CONTEXT_TOKENS_MAX, SPECIALS, STYLES, answer_text, model_manifest, prompt_text

SEED = 1
COUNT = 6000
DIGEST_EXAMPLES = 500
DIGEST = "9e719bb31bb3a9bbc1919aa4d0afb8d90692e384e54eedd0230600476253d7df"
FRAMES_MIN = 40
KIND_FRAMES_MIN = 4
ENTRIES_MIN = 300
INVENTED_SHARE_MIN = 0.5
DISTINCT_CAPTIONS_MIN = 0.97


def drawn(split="train", count=COUNT):
    return examples(SEED, 0, count, split)


def words(text):
    return re.findall(r"[^\W\d_]+", text.lower())


class Corpus(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.train = list(drawn())
        cls.heldout = list(drawn("heldout", COUNT // 4))
        cls.plain = list(examples(SEED, COUNT, COUNT, plain=True))
        cls.all = cls.train + cls.heldout + cls.plain

    def test_the_same_seed_gives_the_same_text(self):
        digest = hashlib.sha256()
        for item in self.train[:DIGEST_EXAMPLES]:
            line = [item.style, item.description, item.caption, list(item.hashtags)]
            digest.update(json.dumps(line, ensure_ascii=False).encode("utf-8"))
        self.assertEqual(digest.hexdigest(), DIGEST)

    def test_an_example_does_not_depend_on_those_before_it(self):
        self.assertEqual(example(SEED, 123), self.train[123])
        self.assertNotEqual(example(SEED + 1, 123), self.train[123])

    def test_a_caption_mentions_the_subject_of_its_description(self):
        for item in self.all:
            spoken = set(words(item.caption))
            self.assertTrue(spoken & set(words(item.head)), item)
            self.assertTrue(spoken & set(words(item.description)), item)

    def test_an_invented_word_of_the_description_is_copied_into_the_caption(self):
        for item in self.all:
            for word in item.invented:
                self.assertIn(word.lower(), item.description.lower(), item)
                self.assertIn(word.lower(), item.caption.lower(), item)

    def test_a_caption_has_no_number_that_its_description_lacks(self):
        for item in self.all:
            allowed = Counter(re.findall(r"\d+", item.description))
            for number in re.findall(r"\d+", item.caption):
                self.assertIn(number, allowed, item)

    def test_hashtags_are_unique_lower_case_and_of_ascii_letters_and_digits(self):
        for item in self.all:
            self.assertEqual(len(set(item.hashtags)), len(item.hashtags), item)
            for name in item.hashtags:
                self.assertRegex(name, r"^[a-z0-9]{3,%d}$" % CHARACTERS_MAX)
                self.assertRegex(name, r"[a-z]")

    def test_most_hashtags_with_invented_words_are_spelt_as_in_the_description(self):
        for item in self.all:
            spelling = slug(item.description)
            for word in item.invented:
                copies = [name for name in item.hashtags if name == slug(word)]
                self.assertTrue(all(name in spelling for name in copies), item)

    def test_no_example_is_longer_than_the_context(self):
        # A byte is never more than one token, and in practice a token is about two bytes.
        sizes = [len((prompt_text(i.style, i.description) + answer_text(i.caption, i.hashtags)).encode()) for i in self.all]
        within = sum(size <= 2 * CONTEXT_TOKENS_MAX for size in sizes) / len(sizes)
        self.assertGreater(within, 0.98)

    def test_every_style_has_frames_and_examples(self):
        seen = Counter(item.style for item in self.train)
        for style in STYLES:
            own = frames()[style]
            self.assertGreaterEqual(len({frame.text for frame in own.captions}), FRAMES_MIN, style)
            self.assertGreaterEqual(len(own.offers), 3, style)
            self.assertGreater(seen[style], COUNT / len(STYLES) / 2)

    def test_every_kind_of_scene_has_several_frames_in_every_style(self):
        for style in STYLES:
            for kind in kinds():
                fitting = [frame for frame in frames()[style].captions if kind in frame.kinds and not frame.needs]
                self.assertGreaterEqual(len(fitting), KIND_FRAMES_MIN, (style, kind))

    def test_a_frame_states_no_number_and_names_only_known_slots(self):
        for style in STYLES:
            own = frames()[style]
            for text in [frame.text for frame in own.captions + own.offers] + list(own.closers):
                self.assertNotRegex(text, r"\d")
                self.assertLessEqual(set(re.findall(r"\{([^}]*)\}", text)), {"X", "A", "N", "G", "R", "T", "O!"}, text)
                self.assertEqual(text.count("["), text.count("]"), text)

    def test_a_caption_has_no_slot_left_and_no_special(self):
        for item in self.all:
            self.assertNotRegex(item.caption, r"[\[\]{}]|  ")
            self.assertFalse(any(special in item.caption + item.description for special in SPECIALS))

    def test_held_out_scenes_and_words_are_never_trained_on(self):
        entries = [entry for kind in kinds().values() for entry in kind.entries]
        self.assertGreaterEqual(len(entries), ENTRIES_MIN)
        heldout = {entry.head for entry in entries if entry.heldout}
        self.assertTrue(all(any(entry.heldout for entry in kind.entries) for kind in kinds().values()))
        self.assertFalse([item for item in self.train if item.head in heldout])
        rng = random.Random(SEED)
        self.assertTrue(all(bucket(pseudo_word(rng, Pool(True, True)), HELDOUT_SHARE) == 0 for _ in range(50)))
        self.assertTrue(all(bucket(pseudo_word(rng, Pool(plain=True)), HELDOUT_SHARE) != 0 for _ in range(500)))

    def test_more_than_half_of_the_examples_hold_an_invented_word(self):
        share = sum(bool(item.invented) for item in self.train) / len(self.train)
        self.assertGreater(share, INVENTED_SHARE_MIN)

    def test_captions_are_rarely_repeated(self):
        self.assertGreater(len({item.caption for item in self.train}) / len(self.train), DISTINCT_CAPTIONS_MIN)

    def test_invented_words_are_fit_to_print(self):
        rng = random.Random(SEED)
        self.assertFalse([word for word in (pseudo_word(rng, Pool(plain=True)) for _ in range(3000)) if UNWANTED.search(word)])

    def test_a_style_does_not_lean_on_few_frames(self):
        openings = defaultdict(Counter)
        for item in self.train:
            openings[item.style][" ".join(words(item.caption)[:2])] += 1
        for style, counted in openings.items():
            self.assertLess(counted.most_common(1)[0][1] / sum(counted.values()), 0.25, style)


class Layout(unittest.TestCase):
    def test_the_manifest_names_every_style_and_special_once(self):
        manifest = model_manifest()
        named = [*manifest["special"].values(), *manifest["styles"].values()]
        self.assertEqual(sorted(named), sorted(SPECIALS))
        self.assertEqual(list(manifest["styles"]), list(STYLES))

    def test_an_answer_ends_and_separates_its_hashtags(self):
        self.assertEqual(answer_text("Hi.", ["a1b", "sea"]), "Hi.<|tag|>a1b<|tag|>sea<|end|>")
        self.assertTrue(prompt_text("bold", "Hi").startswith("<|begin|><|style:bold|><|description|>Hi"))


if __name__ == "__main__":
    unittest.main()
