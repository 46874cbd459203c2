"""What several commands share: options, printing, progress, references to architectures and evaluators."""
