//! What no file may say: where somebody's machine keeps things, and which mirror it gets packages from.

use crate::sources::TextFile;

/// In pieces, so that this file does not say them either.
const BANNED: [(&str, &str, &str); 8] = [
    ("/wo", "rk/", "a machine's folder"),
    ("/ro", "ot/", "a machine's folder"),
    ("/ho", "me/", "a machine's folder"),
    ("/Us", "ers/", "a machine's folder"),
    ("registry", ".npmjs.org", "a registry's host"),
    ("files.python", "hosted.org", "a registry's host"),
    ("index.", "crates.io", "a registry's host"),
    ("arti", "factory", "a registry's host"),
];
/// Example paths that belong to nobody.
const NOBODY: &str = concat!("/ho", "me/someone");

/// Places in one file that name a machine.
pub(crate) fn complaints(file: &TextFile) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in file.content.lines().enumerate() {
        let line = line.replace(NOBODY, "");
        for (start, end, what) in BANNED {
            if line.contains(&format!("{start}{end}")) {
                let place = format!("{}:{}", file.path, index + 1);
                complaints
                    .push(format!("{place}: names {what} ({start}{end}); say where things are by a setting"));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_machines_folder_is_noticed() {
        let bad = sample("a.md", concat!("fine\nsee /ro", "ot/.cargo\n"));
        assert_eq!(complaints(&bad).len(), 1);
        assert!(complaints(&bad)[0].starts_with("a.md:2: "));
        assert!(complaints(&sample("a.md", concat!("/ho", "me/someone/lede and https://crates.io"))).is_empty());
    }

    #[test]
    fn a_mirror_in_a_lock_file_is_noticed() {
        let lock = sample("edge/package-lock.json", concat!("\"resolved\": \"https://registry", ".npmjs.org/a\""));
        assert_eq!(complaints(&lock).len(), 1);
    }
}
