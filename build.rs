//! Lets the linker leave N-API's symbols to the host process.

fn main() {
    #[cfg(feature = "node")]
    napi_build::setup();
}
