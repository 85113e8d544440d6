//! How far long work is: one line on stderr that is drawn over itself, and nothing if stderr is no terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two drawings.
pub const REDRAW: Duration = Duration::from_millis(200);

/// See the module.
pub struct Progress {
    is_terminal: bool,
    drawn: Option<Instant>,
}

impl Progress {
    /// Nothing drawn yet.
    pub fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), drawn: None }
    }

    /// Draws what `line` says, if it is time to.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        let recent = self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW);
        if !self.is_terminal || recent {
            return;
        }
        eprint!("\r\u{1b}[K{}", line());
        // Nobody can do anything about a terminal that cannot be written to.
        io::stderr().flush().ok();
        self.drawn = Some(Instant::now());
    }

    /// Wipes the line, so that something else can be written.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            eprint!("\r\u{1b}[K");
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
