# SPDX-License-Identifier: Apache-2.0
"""Handing out an update, once the receipts of its round are fixed.

Whoever sees an honest update before it has signed its own could send it again under fresh noise and
be paid for it, and a coordinator could let it. So what a vault sends first is a receipt, which
binds it and shows nothing. The update follows when the coordinator has signed the list of all
receipts; the vault keeps that list, and co-signs no record that names others. Nobody has to ask it
to: a quorum without it may have signed. So before each update it holds the newest committed
records against its lists itself, and hands out nothing more where they differ.
"""

from __future__ import annotations

from audit.published import read_checkpoint, read_records
from dao.errors import RecordError
from dao.messages import recover_receipt_list_signer
from dao.records import ListedReceipt, Receipt, SignedReceiptList
from fl_client.approval import TaskOnChain, require_approved
from fl_client.refusals import Code, Refused
from fl_client.service_lock import folder_lock
from fl_client.vault import Vault
from fl_client.wire import RevealRequest


def reveal(vault: Vault, request: RevealRequest) -> bytes:
    """The update (bytes, as receipted) of a round that this vault has answered.

    Refused (not-approved, bad-request, other-receipts, ledger, mismatch) where anything is amiss.
    """
    with vault.service_lock.answering():
        on_chain = require_approved(
            vault.chain,
            task_id=request.task_id,
            task_digest=request.task_digest,
            account=vault.config.account,
            public_key=vault.public_key,
        )
        given = _checked(on_chain, request)
        answer = vault.stored_answer(request.task_digest, request.round)
        if answer is None:
            raise Refused(Code.BAD_REQUEST, f"round {request.round} was not answered")
        own = ListedReceipt.of(vault.config.account, Receipt.parse(answer.receipt))
        if own not in given.body.receipts:
            raise Refused(
                Code.OTHER_RECEIPTS,
                f"the list of round {request.round} does not hold the receipt that this vault sent",
                hint="the update stays here; the coordinator has lost the receipt, or replaced it",
            )
        _hold_against_committed(vault, on_chain)
        with folder_lock(vault.config.folder):
            vault.lists.keep(request.task_digest, request.round, given)
    return answer.update


def _hold_against_committed(vault: Vault, on_chain: TaskOnChain) -> None:
    """Refused(mismatch) where the last committed stretch names other receipts than this vault's
    lists of its rounds."""
    if on_chain.checkpoint_count == 0:
        return
    last = on_chain.checkpoint_count - 1
    root = vault.chain.checkpoint_root(on_chain.task_id, last)
    if vault.held_against_lists == root:
        return
    for signed in read_records(vault.store, read_checkpoint(vault.store, root, index=last)):
        vault.lists.check(on_chain.task_digest, signed.record)
    vault.held_against_lists = root


def _checked(on_chain: TaskOnChain, request: RevealRequest) -> SignedReceiptList:
    """The list, which the task's coordinator signed for this round of this roster."""
    try:
        given = SignedReceiptList.parse(request.receipts)
        signer = recover_receipt_list_signer(given)
    except RecordError as error:
        raise Refused(Code.BAD_REQUEST, f"no signed list of receipts: {error.message}") from error
    place = on_chain.position(request.round)
    if given.body.position != place:
        raise Refused(Code.BAD_REQUEST, f"the list is of {given.body.position}, asked was {place}")
    if signer != on_chain.coordinator:
        raise Refused(Code.BAD_REQUEST, f"the list is signed by {signer}, not by the coordinator")
    roster = [member.address for member in on_chain.roster]
    listed = [each.contributor for each in given.body.receipts]
    if listed != [address for address in roster if address in listed]:
        raise Refused(Code.BAD_REQUEST, "the list is not of roster members once, in their order")
    return given
