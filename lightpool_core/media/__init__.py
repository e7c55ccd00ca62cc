"""What a picture is and where it comes from."""
