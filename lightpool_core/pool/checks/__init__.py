"""What `lightpool check` looks at, a module for each part of a pool."""
