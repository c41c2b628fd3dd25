//! What OpenSSL tells in passing: sessions to resume, and secrets for whoever reads a capture.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslContextBuilder};

/// One thing told.
pub(super) enum Note {
    /// A session, in DER form.
    Session(Vec<u8>),
    /// A line of a key log.
    KeyLog(String),
}

fn index() -> Result<Index<Ssl, Sender<Note>>, ErrorStack> {
    static INDEX: OnceLock<Index<Ssl, Sender<Note>>> = OnceLock::new();
    if let Some(index) = INDEX.get() {
        return Ok(*index);
    }
    let index = Ssl::new_ex_index()?;
    Ok(*INDEX.get_or_init(|| index))
}

/// Has every connection of `context` take notes.
pub(super) fn take(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    let index = index()?;
    context.set_new_session_callback(move |ssl, session| {
        if let (Some(into), Ok(der)) = (ssl.ex_data(index), session.to_der()) {
            // Whoever would read it may have let go.
            drop(into.send(Note::Session(der)));
        }
    });
    context.set_keylog_callback(move |ssl, line| {
        if let Some(into) = ssl.ex_data(index) {
            drop(into.send(Note::KeyLog(line.to_owned())));
        }
    });
    Ok(())
}

/// Where to read the notes of one connection.
pub(super) fn of(ssl: &mut Ssl) -> Result<Receiver<Note>, ErrorStack> {
    let (into, notes) = channel();
    ssl.set_ex_data(index()?, into);
    Ok(notes)
}
