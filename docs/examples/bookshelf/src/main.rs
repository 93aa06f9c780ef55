//! Serves the shelf on 127.0.0.1:8080, or on the address in the first argument.

use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let listener = tokio::net::TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8080"));
    let listener = listener.await?;
    println!("listening on http://{}", listener.local_addr()?);
    let app = bookshelf_example::app(Arc::default())?;
    axum::serve(listener, app).await?;
    Ok(())
}
