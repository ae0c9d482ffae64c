//! Statements for many rows at once that are bound value by value: what is written for every message goes without JSON,
//! whose reading took a tenth of the daemon's processor time.

use std::borrow::Borrow;

use futures_util::TryStreamExt;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Either, Encode, Executor, SqlSafeStr, SqlStr, Sqlite, SqliteConnection, Type};

use crate::store::StoreError;

/// How many rows a text has room for. A prepared statement has a fixed number of places, so each text stands in these sizes;
/// the places left over are rows of NULLs, which no text may take for rows.
const SIZES: [usize; 5] = [1, 4, 16, 64, 256];

/// Most rows of one statement.
pub(super) const MOST_ROWS: usize = SIZES[SIZES.len() - 1];

/// A text of one or several statements, in every size.
pub(super) struct ForRows {
    texts: Vec<SqlStr>,
    /// Places of a row, statement by statement; each statement has rows.
    widths: Vec<usize>,
}

/// What fills the places of a row.
pub(super) type Bind<T> = fn(&mut Places<'_>, &T);

/// The places of one row.
pub(super) struct Places<'a>(&'a mut SqliteArguments, &'a mut Result<(), sqlx::error::BoxDynError>);

impl Places<'_> {
    /// Fills the next place.
    pub(super) fn bind<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> &mut Self {
        if let Err(e) = self.0.add(value) {
            *self.1 = Err(e);
        }
        self
    }
}

impl ForRows {
    /// From a text in which `{n}` stands for the rows of a statement, of n places each.
    pub(super) fn new(text: &'static str) -> ForRows {
        let texts = SIZES.iter().map(|size| AssertSqlSafe(with_places(text, *size)).into_sql_str()).collect();
        ForRows { texts, widths: pieces(text).filter_map(|(_, width)| width).collect() }
    }

    #[cfg(test)]
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(SqlStr::as_str)
    }

    /// Carries it out for all rows, as many as there is room for at a time. `bind` fills the places of a row, statement by
    /// statement. Answers how many rows each of its statements changed.
    pub(super) async fn execute<T, R: Borrow<T>, const N: usize>(
        &self,
        connection: &mut SqliteConnection,
        rows: &[R],
        bind: [Bind<T>; N],
        doing: &'static str,
    ) -> Result<[u64; N], StoreError> {
        let mut changed = [0; N];
        for some in rows.chunks(MOST_ROWS) {
            let query = self.query(some, &bind).map_err(|e| StoreError::database(doing)(sqlx::Error::Encode(e)))?;
            let mut steps = connection.fetch_many(query);
            for changed in &mut changed {
                if let Some(Either::Left(done)) = steps.try_next().await.map_err(StoreError::database(doing))? {
                    *changed += done.rows_affected();
                }
            }
        }
        Ok(changed)
    }

    fn query<T, R: Borrow<T>>(
        &self,
        rows: &[R],
        bind: &[Bind<T>],
    ) -> Result<Query<'static, Sqlite, SqliteArguments>, sqlx::error::BoxDynError> {
        let size = SIZES.iter().position(|size| *size >= rows.len()).unwrap_or(SIZES.len() - 1);
        let mut arguments = SqliteArguments::default();
        let mut fits = Ok(());
        arguments.reserve(SIZES[size] * self.widths.iter().sum::<usize>(), 0);
        for (width, bind) in self.widths.iter().zip(bind) {
            rows.iter().for_each(|row| bind(&mut Places(&mut arguments, &mut fits), row.borrow()));
            let mut left = Places(&mut arguments, &mut fits);
            (0..(SIZES[size] - rows.len()) * width).for_each(|_| _ = left.bind(None::<i64>));
        }
        fits.map(|()| sqlx::query_with(self.texts[size].clone(), arguments))
    }
}

/// A text cut at its rows, each piece with the width of the rows after it.
fn pieces(text: &str) -> impl Iterator<Item = (&str, Option<usize>)> {
    text.split('}').map(|piece| match piece.split_once('{') {
        Some((before, width)) => (before, width.parse().ok()),
        None => (piece, None),
    })
}

fn with_places(text: &str, size: usize) -> String {
    let rows = |width| vec![format!("({})", vec!["?"; width].join(", ")); size].join(", ");
    pieces(text).map(|(before, width)| before.to_owned() + &width.map(rows).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_of_every_number_are_bound_and_no_other_is_made() {
        use sqlx::Connection;
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::query("CREATE TABLE one (a, b); CREATE TABLE two (a)").execute(&mut connection).await.unwrap();
        let text = "INSERT INTO one WITH v (a, b) AS (VALUES {2}) SELECT * FROM v WHERE a IS NOT NULL;
                    INSERT INTO two WITH v (a) AS (VALUES {1}) SELECT * FROM v WHERE a IS NOT NULL";
        let statements = ForRows::new(text);
        let mut all = 0;
        for n in [1_i64, 2, 4, 5, 64, 65, 256, 257, 1_000] {
            let rows: Vec<(i64, String)> = (0..n).map(|i| (i, format!("text {i}"))).collect();
            let bind: [Bind<(i64, String)>; 2] = [|p, r| _ = p.bind(r.0).bind(r.1.as_str()), |p, r| _ = p.bind(r.0)];
            let changed = statements.execute(&mut connection, &rows, bind, "test").await.unwrap();
            assert_eq!(changed, [u64::try_from(n).unwrap(); 2]);
            all += n;
            let there: (i64, i64) =
                sqlx::query_as("SELECT (SELECT count(*) FROM one WHERE b = 'text ' || a), (SELECT count(*) FROM two)")
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
            assert_eq!(there, (all, all));
        }
    }
}
