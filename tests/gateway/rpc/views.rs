//! Whose processes they are, and who may ask.
