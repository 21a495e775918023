//! The rules that can be switched off, and the bounds.

/// What the deadline asks of the provider before it gives the units back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To end the payment: the answer decides.
    End,
    /// How it stands: it may be paid a moment later.
    Read,
    /// Nothing: so there is late money.
    Nothing,
}

/// The protocol of payments within its bounds.
#[derive(Clone, Copy)]
pub(crate) struct Payments {
    pub(crate) stock: i8,
    pub(crate) handlers: usize,
    pub(crate) rival: bool,
    pub(crate) crashes: u8,
    pub(crate) disturbances: u8,
    /// What a disturbance may be.
    pub(crate) rollback: bool,
    pub(crate) wipe: bool,
    pub(crate) forced: bool,
    pub(crate) bkash: bool,
    /// Money after the end of the hold is a violation.
    pub(crate) no_late_money: bool,
    pub(crate) ask: Ask,
    /// An unknown page is made once more and then ended; nobody pays before the page is attached.
    pub(crate) create_fence: bool,
    /// The fence of recovery leaves a payment alone.
    pub(crate) fence_leaves_payments: bool,
    /// Before money goes back, the late reservation is fenced.
    pub(crate) late_fence: bool,
    /// A refund has a key of its own.
    pub(crate) refund_key: bool,
    /// The rebuild pins payments again.
    pub(crate) restore: bool,
    /// A record that ended with the same token stays ended.
    pub(crate) keep_ended: bool,
    /// Payments count in Postgres.
    pub(crate) counts: bool,
    /// Payments that ended are asked about again.
    pub(crate) watch: bool,
    /// Execute is claimed, and only while the payment is open.
    pub(crate) claim: bool,
}

/// All rules, no disturbance.
pub(crate) const PROTOCOL: Payments = Payments {
    stock: 1,
    handlers: 1,
    rival: true,
    crashes: 1,
    disturbances: 0,
    rollback: false,
    wipe: false,
    forced: false,
    bkash: false,
    no_late_money: false,
    ask: Ask::End,
    create_fence: true,
    fence_leaves_payments: true,
    late_fence: true,
    refund_key: true,
    restore: true,
    keep_ended: true,
    counts: true,
    watch: true,
    claim: true,
};
