//! How many payments are open, and for how long one has been in doubt. Reads what the index of those that must be looked
//! at holds, never all payments.

use crate::payments::Payments;
use crate::payments::gateway::ProviderName;
use crate::payments::store::Status;
use crate::platform::{Db, Fault, metrics as names};

// In doubt is what should be over: past its deadline, paid too late and not yet decided, or on its way back.
const OPEN: &str = "-- payments.count_open
select provider, status, count(*) as payments,
       greatest(coalesce(max(extract(epoch from now() - case
           when status in ('initiated', 'pending') then pay_deadline
           when status = 'late' then paid_at
           when status = 'refunding' then updated_at end)), 0), 0)::float8 as doubt_s
  from payments where next_check_at is not null group by provider, status";

/// The statements of this file.
pub(super) const STATEMENTS: &[&str] = &[OPEN];

struct Open {
    provider: String,
    status: String,
    payments: i64,
    doubt_s: f64,
}

async fn open(db: &Db) -> Result<Vec<Open>, Fault> {
    let rows = db.read(OPEN, &[]).await?;
    let of = |row: &tokio_postgres::Row| Open {
        provider: row.get("provider"),
        status: row.get("status"),
        payments: row.get("payments"),
        doubt_s: row.get("doubt_s"),
    };
    Ok(rows.iter().map(of).collect())
}

impl Payments {
    /// Shows operators how payments stand; one status that nothing has any more goes back to 0.
    pub(super) async fn measure(&self) -> Result<(), Fault> {
        let open = open(&self.background_db).await?;
        for provider in ProviderName::ALL {
            for status in Status::ALL {
                let of = |open: &&Open| {
                    open.provider == provider.as_str() && open.status == status.as_str()
                };
                let payments = open.iter().find(of).map_or(0, |open| open.payments);
                metrics::gauge!(names::PAYMENTS_OPEN, "provider" => provider.as_str(), "status" => status.as_str())
                    .set(payments as f64);
            }
        }
        let doubt_s = open.iter().map(|open| open.doubt_s).fold(0.0, f64::max);
        metrics::gauge!(names::PAYMENT_DOUBT).set(doubt_s);
        Ok(())
    }
}
