//! The N-API skin over the engine.
