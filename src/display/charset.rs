//! The signs that the terminal client draws, with an ASCII stand-in for each.
//!
//! Owns the choice of glyphs. Knows nothing of layout.

/// Which signs a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// The locale is UTF-8.
    Unicode,
    /// Anything else: 7-bit signs only.
    Ascii,
}

impl Charset {
    /// Stands for text that was left out; one column wide.
    #[must_use]
    pub fn ellipsis(self) -> &'static str {
        self.pick("…", "~")
    }

    /// Between facts that stand side by side, with its spaces.
    #[must_use]
    pub fn separator(self) -> &'static str {
        self.pick(" · ", " - ")
    }

    /// Before what succeeded.
    #[must_use]
    pub fn tick(self) -> &'static str {
        self.pick("✓", "+")
    }

    /// Before what failed.
    #[must_use]
    pub fn cross(self) -> &'static str {
        self.pick("✗", "x")
    }

    /// Before what was there already.
    #[must_use]
    pub fn same(self) -> &'static str {
        "="
    }

    /// The right arrow key.
    #[must_use]
    pub fn right(self) -> &'static str {
        self.pick("→", "Right")
    }

    /// The left arrow key.
    #[must_use]
    pub fn left(self) -> &'static str {
        self.pick("←", "Left")
    }

    /// From the server.
    #[must_use]
    pub fn down(self) -> &'static str {
        self.pick("↓", "down")
    }

    /// To the server.
    #[must_use]
    pub fn up(self) -> &'static str {
        self.pick("↑", "up")
    }

    /// The up and down arrow keys.
    #[must_use]
    pub fn up_down(self) -> &'static str {
        self.pick("↑↓", "Up/Down")
    }

    /// The left and right arrow keys.
    #[must_use]
    pub fn left_right(self) -> &'static str {
        self.pick("←→", "Left/Right")
    }

    fn pick(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        match self {
            Self::Unicode => unicode,
            Self::Ascii => ascii,
        }
    }
}
