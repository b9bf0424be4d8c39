//! The preview in the browser and on the wire.

pub mod browser;
mod lab;
mod large;
mod pages;
mod streams;
mod wire;
