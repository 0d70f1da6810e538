//! `dsbus dev`, and the README's demo.
