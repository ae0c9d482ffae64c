//! `contact leave`: takes contacts out of a list.

use serde_json::json;

use crate::cli::contact::{chat_of, list_named};
use crate::cli::exit::Exit;
use crate::cli::out::{Out, counted, safe};
use crate::cli::{Global, place};
use crate::domain::recipient::Chat;
use crate::store::Opening;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Jobs that follow the list (`live: true`) write to them no more. Of others, what is planned goes out; they are \
left out once the file is applied again. They stay contacts; `contact suppress` ends all messages to somebody, and \
`contact erase` forgets them.

Examples:
  onthedot contact leave 491701234567 --list customers
  onthedot contact leave $(cat gone.txt) --list customers --json"
)]
pub(super) struct ContactLeaveArgs {
    /// The chats, or their numbers
    #[arg(value_name = "CHAT", required = true)]
    chats: Vec<String>,
    /// The list
    #[arg(long, value_name = "NAME")]
    list: String,
}

pub(super) async fn contact_leave(global: &Global, args: &ContactLeaveArgs, out: &Out) -> anyhow::Result<Exit> {
    let chats: Vec<Chat> = args.chats.iter().map(|c| chat_of(c)).collect::<Result<_, _>>()?;
    let store = place::open(global, Opening::Beside).await?;
    let asked = chats.len();
    let left = match list_named(&store, &args.list).await {
        Ok(list) => store.leave_list(list, chats).await.map_err(anyhow::Error::from),
        Err(e) => Err(e),
    };
    store.close().await;
    let left = left?;
    if out.json {
        out.document(&json!({ "list": args.list, "left": left, "asked": asked }))?;
        return Ok(Exit::Ok);
    }
    out.data(&format!("{} left the list {}", counted(left, "contact"), safe(&args.list)))?;
    let others = u64::try_from(asked).unwrap_or(u64::MAX).saturating_sub(left);
    if others > 0 {
        out.note(&format!("{} not in it", counted(others, "contact")));
    }
    Ok(Exit::Ok)
}
