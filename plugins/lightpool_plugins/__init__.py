"""The plugins that come in the box, registered like anybody else's."""
