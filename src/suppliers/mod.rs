//! Suppliers: where a merchant buys. Each belongs to one owner, and every statement says whose it may touch.

mod http;
mod store;

use serde::Serialize;

use crate::platform::{Db, Fault};

pub use http::{Operations, routes};
pub use store::STATEMENTS;

/// A supplier as the API shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Supplier {
    /// Its number.
    pub id: i64,
    /// What its owner says of it.
    #[serde(flatten)]
    pub details: Details,
}

/// What an owner says of a supplier.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Details {
    /// What it is called.
    pub name: String,
    /// Where to write to.
    pub email: Option<String>,
    /// Where to call.
    pub phone: Option<String>,
    /// Where it is.
    pub address: Option<String>,
}

/// Whose suppliers a caller may touch: one owner's, or everybody's for none.
pub type Whose<'a> = Option<&'a str>;

/// The suppliers' handle.
#[derive(Clone)]
pub struct Suppliers {
    db: Db,
}

impl Suppliers {
    /// Suppliers in this database.
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Creates one; an earlier run of the same request (`request_key`) counts as this one.
    pub async fn create(
        &self,
        owner: &str,
        details: &Details,
        request_key: Option<&[u8]>,
        actor: &str,
    ) -> Result<Supplier, Fault> {
        store::create(&self.db, owner, details, request_key, actor).await
    }

    /// At most `limit` of them and one more, those with a number above `after`, in order.
    pub async fn page(
        &self,
        whose: Whose<'_>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Supplier>, Fault> {
        store::page(&self.db, whose, after, limit + 1).await
    }

    /// The one with this number.
    pub async fn get(&self, whose: Whose<'_>, id: i64) -> Result<Option<Supplier>, Fault> {
        store::get(&self.db, whose, id).await
    }

    /// Says something else of it.
    pub async fn update(
        &self,
        whose: Whose<'_>,
        id: i64,
        details: &Details,
        actor: &str,
    ) -> Result<Option<Supplier>, Fault> {
        store::update(&self.db, whose, id, details, actor).await
    }

    /// Deletes it; its products have none then. False: there is none.
    pub async fn delete(&self, whose: Whose<'_>, id: i64) -> Result<bool, Fault> {
        store::delete(&self.db, whose, id).await
    }
}
