//! A model folder is refused, with the name of the file at fault, unless all of its parts fit together.

use lede_origin::models::Model;

use crate::support::model_folder;

#[test]
fn a_missing_or_broken_part_is_named() {
    for (file, content) in [
        ("lede.json", Some("{")),
        ("lede.json", Some(r#"{"id": "x"}"#)),
        ("config.json", None),
        ("config.json", Some(r#"{"vocab_size": "many"}"#)),
        ("tokenizer.json", None),
        ("tokenizer.json", Some("{}")),
        ("tokenizer.json", Some(r#"{"decoder": {"type": "WordPiece"}}"#)),
        ("lexicon.json", None),
        ("lexicon.json", Some(r#"{"caption_words": [], "hashtags": []}"#)),
        ("onnx/model.onnx", None),
    ] {
        let folder = model_folder();
        match content {
            Some(content) => std::fs::write(folder.join(file), content).unwrap(),
            None => std::fs::remove_file(folder.join(file)).unwrap(),
        }
        let error = Model::open(&folder).unwrap_err().to_string();
        assert!(error.contains(file) && !error.contains('\n'), "{file} {content:?}: {error}");
    }
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    for (from, to, reason) in [
        (r#""prompt_format":2"#, r#""prompt_format":1"#, "prompt_format"),
        (r#""context_tokens_max":512"#, r#""context_tokens_max":4096"#, "max_position_embeddings"),
        ("<|tag|>", "<|label|>", "<|label|>"),
        ("<|style:bold|>", "<|style:loud|>", "<|style:loud|>"),
        (r#""bold":"#, r#""boldest":"#, "boldest"),
        ("<|emoji:rich|>", "<|emoji:many|>", "<|emoji:many|>"),
        ("<|call:save|>", "<|call:keep|>", "<|call:keep|>"),
    ] {
        let folder = model_folder();
        let path = folder.join("lede.json");
        let manifest = std::fs::read_to_string(&path).unwrap();
        assert!(manifest.contains(from), "{manifest}");
        std::fs::write(&path, manifest.replace(from, to)).unwrap();
        let error = Model::open(&folder).unwrap_err().to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}
