//! Colours, and what stands for them where they are not wanted.

use ratatui::style::{Color, Modifier, Style};

use crate::table::Tone;

/// What matters less.
pub(super) const QUIET: Style = Style::new().add_modifier(Modifier::DIM);
/// What matters more.
pub(super) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
/// The first line.
pub(super) const BAR: Style = Style::new().add_modifier(Modifier::REVERSED);

/// How things look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Colours are wanted (`NO_COLOR`).
    pub(super) colour: bool,
}

impl Look {
    fn in_colour(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    /// What a cell means; a glyph or a word says it, too.
    pub(super) fn tone(self, tone: Tone) -> Style {
        match tone {
            Tone::Plain => Style::new(),
            Tone::Good => self.in_colour(Color::Green),
            Tone::Moving => self.in_colour(Color::Yellow),
            Tone::Bad => self.in_colour(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Quiet => QUIET,
        }
    }

    /// A question.
    pub(super) fn ask(self) -> Style {
        self.in_colour(Color::Yellow).add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }

    /// Titles of columns.
    pub(super) fn title(self) -> Style {
        self.in_colour(Color::Cyan).add_modifier(Modifier::BOLD)
    }
}

/// Text of exactly this width, in characters.
pub(super) fn fitted(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return format!("{text:<width$}");
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain((width > 0).then_some('…')).collect()
}

/// The same, at the right.
pub(super) fn right(text: &str, width: usize) -> String {
    if text.chars().count() > width { fitted(text, width) } else { format!("{text:>width$}") }
}
