//! `kiln reproduce`.
use clap::Args;
use super::Global;
use crate::Result;
/// stub
#[derive(Debug, Args)]
pub struct Reproduce {}
impl Reproduce { 
/// stub
pub fn run(self, _: &Global) -> Result<()> { Ok(()) } }
