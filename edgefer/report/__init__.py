"""Results as HTML, Markdown and charts."""
