"""Access and portability: what is held about a person, as files for them."""
