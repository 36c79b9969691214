"""Ways out that go through `disclose`: an HTTP client and letters, each bound to one declared recipient."""
