-- Payments that a person has to look at, and lists of payments for those who look.
create index payments_by_status on payments (status, payment_id desc);
create index payments_by_user on payments (user_id, payment_id desc);

-- A person has decided about a payment in `review`. `accept`: the money is for this payment, which is open again, so that
-- it can be sold as any other. `refund`: units that were kept for it go back, and the money does, as money that came too
-- late; the row that keeps such money from being sold is written here. `release`: the units go back, and the money is
-- somebody else's affair. Answers resolved, known (it is not in review), or given_up (its units were, so it cannot be accepted).
create function resolve_review(
    p_payment uuid, p_outcome text, p_intent text, p_trx text, p_actor text, p_reason text
)
returns text language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    pay  payments;
    held boolean;
begin
    pay := lock_payment(p_payment);
    if pay.status is distinct from 'review' then
        return 'known';
    end if;
    held := exists (select from reservation_decisions d where d.payment_id = p_payment and d.outcome = 'PENDING');
    if p_outcome = 'accept' and exists (
            select from reservation_decisions d
             where d.reservation_id = pay.late_reservation_id and d.outcome = 'ABORTED') then
        return 'given_up';
    end if;
    perform note_audit(p_actor, 'payment.resolve', p_payment::text, jsonb_strip_nulls(jsonb_build_object(
        'outcome', p_outcome, 'failure', pay.failure_code, 'reason', p_reason)));
    update payments p
       set status = case when held then 'pending' else 'cancelled' end, checks = 0, updated_at = now(),
           next_check_at = now() + interval '5 seconds'
     where p.payment_id = p_payment;
    if p_outcome = 'accept' then
        return 'resolved';
    end if;
    if held then
        perform end_payment(p_payment, 'cancelled', 'cancelled', pay.failure_code, true, p_actor);
    end if;
    if p_outcome = 'refund' then
        insert into reservation_decisions (reservation_id, outcome, reason, user_id, actor)
        values (pay.late_reservation_id, 'ABORTED', 'cancelled', pay.user_id, p_actor)
        on conflict do nothing;
        update payments p
           set status = 'late', paid_at = coalesce(p.paid_at, now()), next_check_at = now() + interval '2 seconds',
               provider_intent_id = coalesce(p.provider_intent_id, p_intent),
               provider_trx_id = coalesce(p.provider_trx_id, p_trx)
         where p.payment_id = p_payment;
    end if;
    return 'resolved';
end $$;
