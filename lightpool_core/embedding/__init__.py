"""From pictures to candidates."""
