concat_ws(' ', m.class, m.content, m.due_at, m.wake_at, m.lead_ms, m.attempts, m.tries,
                  coalesce(m.first_marked_at, '-'), m.guard, coalesce(o.nominal_at, '-'), m.step, m.steps,
                  coalesce(m.expires_at, '-'), m.key IS NOT NULL, coalesce(o.event_begins, o.event_at, '-'), m.flow,
                  EXISTS (SELECT 1 FROM opt_ins AS i WHERE i.chat = m.chat),
                  -- When the message of its sequence before it left, and how long after that it may.
                  iif(m.step > 0, coalesce((SELECT p.sent_at FROM messages AS p
                                            WHERE p.occurrence = m.occurrence AND p.chat = m.chat AND p.step = m.step - 1
                                              AND p.reason IS NOT 'replaced'), '-'), '-'),
                  coalesce(m.after_ms, '-'), coalesce(m.counted, 0),
                  -- When its recipient wrote last.
                  coalesce((SELECT max(w.at) FROM replies AS w WHERE w.chat = m.chat), '-'),
                  -- It is judged once its turn comes.
                  coalesce({allowed_from}, '-'))
