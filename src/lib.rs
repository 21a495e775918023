//! Holdfast holds limited stock for a buyer for a few minutes, under a crowd, and turns the hold into an order:
//! exactly once, never oversold, nothing lost.
//!
//! In reading order, each standing only on those above it:
//!
//! - [`kernel`] – values of the domain
//! - [`config`] – settings
//! - [`platform`] – stores, scripts, tasks, the shape of HTTP
//! - [`identity`] – tokens and roles
//! - [`audit`] – who did what to the service
//! - [`accounts`] – who may sign in here
//! - [`catalogue`] – products
//! - [`suppliers`] – where a merchant buys
//! - [`reservations`] – the core
//! - [`sales`] – sales as an operator sees and steers them
//! - [`stock`] – what its owner does to stock
//! - [`orders`] – what a reservation becomes
//! - [`payments`] – money through Stripe and bKash
//! - [`notifications`] – what the outside is told
//! - [`reconcile`] – whether everything agrees
//! - [`settings`] – settings that change while the service runs
//! - [`health`] – how all replicas are
//! - [`console`] – the operator's page
//! - [`openapi`] – what all of them say of their routes
//! - [`app`] – puts them together
//! - [`cli`] – the commands

pub mod accounts;
pub mod app;
pub mod audit;
pub mod cart;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod console;
pub mod health;
pub mod identity;
pub mod kernel;
pub mod notifications;
pub mod openapi;
pub mod orders;
pub mod payments;
pub mod platform;
pub mod reconcile;
pub mod reservations;
pub mod sales;
pub mod settings;
pub mod stock;
pub mod suppliers;
