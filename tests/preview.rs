//! The preview in the browser and on the wire.

mod browser;
mod lab;
mod pages;
mod wire;
