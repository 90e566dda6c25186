"""From pictures with people in them to the expressions of their faces."""
