"""The pages in the browser: what is on photographs, and what is to be put right: `fishline app`."""
