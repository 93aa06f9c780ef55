//! The service, which depends on gRPC only.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio_stream::iter;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use crate::v1::bookshelf_service_server::BookshelfService;
use crate::v1::{
    Book, CreateBookRequest, DeleteBookRequest, GetBookRequest, ListBooksRequest,
    ListBooksResponse, ReadBookRequest, ReadBookResponse, UpdateBookRequest,
};

/// Stores books in memory.
#[derive(Debug, Default)]
pub struct Shelf {
    books: Mutex<BTreeMap<String, Book>>,
}

/// Returns the time at which a book is added.
#[allow(
    clippy::disallowed_methods,
    reason = "an example needs no clock to set"
)]
fn now() -> prost_types::Timestamp {
    SystemTime::now().into()
}

impl Shelf {
    fn books(&self) -> MutexGuard<'_, BTreeMap<String, Book>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> Result<Book, Status> {
        let found = self.books().get(name).cloned();
        found.ok_or_else(|| Status::not_found("There is no such book"))
    }
}

#[tonic::async_trait]
impl BookshelfService for Shelf {
    async fn create_book(
        &self,
        request: Request<CreateBookRequest>,
    ) -> Result<Response<Book>, Status> {
        let CreateBookRequest {
            parent,
            book_id,
            book,
        } = request.into_inner();
        if book_id.is_empty() || book_id.contains('/') {
            return Err(Status::invalid_argument("`book_id` must be one word"));
        }
        let name = format!("{parent}/books/{book_id}");
        let book = Book {
            name: name.clone(),
            shelved_at: Some(now()),
            ..book.unwrap_or_default()
        };
        let mut books = self.books();
        if books.contains_key(&name) {
            return Err(Status::already_exists("There is such a book already"));
        }
        books.insert(name, book.clone());
        Ok(Response::new(book))
    }

    async fn get_book(&self, request: Request<GetBookRequest>) -> Result<Response<Book>, Status> {
        self.find(&request.get_ref().name).map(Response::new)
    }

    async fn list_books(
        &self,
        request: Request<ListBooksRequest>,
    ) -> Result<Response<ListBooksResponse>, Status> {
        let ListBooksRequest {
            parent,
            genres,
            filter,
        } = request.into_inner();
        let min_pages = filter.and_then(|filter| filter.min_pages).unwrap_or(0);
        let wanted = |book: &&Book| {
            book.name.starts_with(&format!("{parent}/"))
                && (genres.is_empty() || genres.contains(&book.genre))
                && book.pages.unwrap_or(0) >= min_pages
        };
        let books = self.books().values().filter(wanted).cloned().collect();
        Ok(Response::new(ListBooksResponse { books }))
    }

    async fn update_book(
        &self,
        request: Request<UpdateBookRequest>,
    ) -> Result<Response<Book>, Status> {
        let UpdateBookRequest { book, update_mask } = request.into_inner();
        let new = book.unwrap_or_default();
        let mut books = self.books();
        let book = books
            .get_mut(&new.name)
            .ok_or_else(|| Status::not_found("There is no such book"))?;
        let mut changed = book.clone();
        for path in update_mask.unwrap_or_default().paths {
            match path.as_str() {
                "title" => changed.title.clone_from(&new.title),
                "authors" => changed.authors.clone_from(&new.authors),
                "pages" => changed.pages = new.pages,
                "genre" => changed.genre = new.genre,
                _ => {
                    return Err(Status::invalid_argument(
                        "`update_mask` names no such field",
                    ));
                }
            }
        }
        *book = changed.clone();
        Ok(Response::new(changed))
    }

    async fn delete_book(
        &self,
        request: Request<DeleteBookRequest>,
    ) -> Result<Response<()>, Status> {
        let gone = self.books().remove(&request.get_ref().name);
        gone.map(|_| Response::new(()))
            .ok_or_else(|| Status::not_found("There is no such book"))
    }

    async fn read_book(
        &self,
        request: Request<ReadBookRequest>,
    ) -> Result<Response<BoxStream<ReadBookResponse>>, Status> {
        let book = self.find(&request.get_ref().name)?;
        let words: Vec<_> = book
            .title
            .split_whitespace()
            .map(|word| Ok(ReadBookResponse { word: word.into() }))
            .collect();
        Ok(Response::new(Box::pin(iter(words))))
    }
}
