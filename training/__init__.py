"""What makes `models/lede-nano`: corpus, tokenizer, training, export, evaluation."""
