"""The page in the browser that says what is on photographs: `fishline app`."""
