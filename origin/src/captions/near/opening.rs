//! What people write before what they want a caption for: `please write a caption for`, `a photo of`.

/// Words of one text, one after the other.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// Passes over the next word if it is one of `words`, in any case.
    fn eat(&mut self, words: &[&str]) -> bool {
        let (word, rest) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        let is_one = words.iter().any(|wanted| wanted.eq_ignore_ascii_case(word));
        if is_one {
            self.rest = rest;
        }
        is_one
    }

    /// Passes over all of `words` or none.
    fn eat_all(&mut self, words: &[&str]) -> bool {
        let before = self.rest;
        let found = words.iter().all(|word| self.eat(&[word]));
        if !found {
            self.rest = before;
        }
        found
    }
}

/// The text without such an opening; the text itself when nothing would be left.
///
/// An opening that says more than that a caption is wanted (`a funny caption for`, `a painting of`) stays.
pub(super) fn without_opening(text: &str) -> &str {
    let mut cursor = Cursor { rest: text };
    for part in [request, picture] {
        let before = cursor.rest;
        if !part(&mut cursor) {
            cursor.rest = before;
        }
    }
    if cursor.rest.chars().any(char::is_alphanumeric) { cursor.rest } else { text }
}

/// `could you please write an instagram caption for`, `caption for this photo:`, `a post about`.
fn request(cursor: &mut Cursor<'_>) -> bool {
    cursor.eat(&["please"]);
    if cursor.eat(&["can", "could", "would"]) {
        if !cursor.eat(&["you"]) {
            return false;
        }
        cursor.eat(&["please"]);
    }
    cursor.eat_all(&["help", "me"]);
    if cursor.eat_all(&["caption", "this:"]) {
        return true;
    }
    if cursor.eat_all(&["caption", "this"]) {
        return cursor.eat(PICTURES_WITH_COLON);
    }
    if !cursor.eat_all(&["i", "need"]) && cursor.eat(&["write", "create", "generate", "make", "draft", "give"]) {
        cursor.eat(&["me", "us"]);
    }
    cursor.eat(&["a", "an"]);
    cursor.eat(&["instagram", "insta", "ig"]);
    subject(cursor)
}

const PICTURES_WITH_COLON: &[&str] = &["photo:", "picture:", "pic:", "image:", "post:"];

/// A caption is for or about something. A post *for* something may be of wood.
fn subject(cursor: &mut Cursor<'_>) -> bool {
    if cursor.eat(&["post"]) {
        return cursor.eat(&["about"]);
    }
    if !cursor.eat(&["caption"]) || !cursor.eat(&["for", "about"]) {
        return cursor.eat(&["caption:"]);
    }
    let before = cursor.rest;
    if !(cursor.eat(&["this"]) && cursor.eat(PICTURES_WITH_COLON)) {
        cursor.rest = before;
    }
    true
}

/// `this is a photo of`, `picture:`. Not `the picture of`, as in `the picture of health`.
fn picture(cursor: &mut Cursor<'_>) -> bool {
    let _ = cursor.eat_all(&["this", "is"]) || cursor.eat_all(&["here", "is"]) || cursor.eat(&["here's"]);
    cursor.eat(&["a", "an"]);
    cursor.eat(PICTURES_WITH_COLON)
        || (cursor.eat(&["photo", "picture", "pic", "image", "photograph"]) && cursor.eat(&["of"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_that_only_ask_are_left_out() {
        for opening in [
            "a photo of",
            "This is a picture of",
            "photo:",
            "Caption for",
            "caption this:",
            "Please write a caption for",
            "can you please write an Instagram caption about",
            "I need a caption for a photo of",
            "Give me a caption for this photo:",
            "a post about",
        ] {
            assert_eq!(without_opening(&format!("{opening} my Cat")), "my Cat", "{opening}");
        }
    }

    #[test]
    fn openings_that_say_something_stay() {
        for text in [
            "a photo album of my cat",
            "the picture of health",
            "a shot of espresso",
            "a painting of a dog",
            "a funny caption for my cat",
            "write two captions for my cat",
            "don't write a caption for my cat",
            "caption contest",
            "a post for the fence",
            "can we see a photo of a dog",
            "a photo of",
            "a photo of 🌅",
            "photographs",
            "",
        ] {
            assert_eq!(without_opening(text), text);
        }
    }

    #[test]
    fn one_opening_is_left_out_and_not_two() {
        assert_eq!(without_opening("a photo of a photo of my mum"), "a photo of my mum");
    }
}
