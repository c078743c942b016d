//! The broker: what each request code means.
