"""Our own TFX components, a folder each: `component` (the spec), `executor` (`Do` wires), the work beside it."""
