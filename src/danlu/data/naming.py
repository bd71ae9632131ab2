"""What the name of a column says of it: that its values name the rows, or those whom rows are of."""

from __future__ import annotations

import re

__all__ = ["names_rows", "names_whose"]

_CASE = (
    r"(?<=[a-z])(?=[A-Z])|[\W_]+|(?<=[^\x00-\u02ff])(?=[A-Za-z])"  # where a name is cut: customerId, lfd. Nr., 用户ID
)
_PLACES = {"idx", "index", "row", "rownum"}
_ROWS = {"id", "uid", "uuid", "guid", "pk", "sno", "srno"}
_ROWS |= {"no", "nr", "nro", "number", "nummer", "numero", "numéro", "número", "nº", "n°", "№", "номер"}
_ROWS_END = ("nummer", "nr", "编号", "編號", "序号", "序號", "号码", "號碼", "流水号", "主键", "番号", "번호", "아이디")
_NO_ROWS = ("hr", "vnr", "snr", "pnr")  # no German word that ends in "nr"
_ROWS_END_IN_CHINESE = re.compile(r"[订單单学學工卡户戶帐账證证票房车車病件货貨行款]号$|[訂單學證]號$")
_WHOSE = {"patient", "subject", "person", "customer", "client", "user", "household"}
_OWNERS = {"uid", "ids", "family", "session", "device", "account", "member", "student", "employee", "ticket", "group"}
_OWNERS |= {"participant", "respondent", "case", "kunde", "kunden", "schüler", "versuchsperson", "fall"}
_OWNERS_PARTS = re.compile(
    r"患者|病人|客户|客戶|用户|用戶|会员|會員|学生|學生|员工|員工|受试者|被试|账户|设备|顾客|顧客"
)


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.split(_CASE, name.strip(" .:#")) if word]


def names_rows(name: str, *, places: bool = True) -> bool:
    """Whether a column is called an identifier, or the number of something, in some language.

    Args:
        places: whether words count too that may also say where something is, such as a row or an index.

    >>> [names_rows(name) for name in ("PassengerId", "Nr.", "Lfd. Nr.", "Kundennummer", "编号", "序号", "用户ID", "Unnamed: 0", "S.No")]
    [True, True, True, True, True, True, True, True, True]
    >>> [names_rows(name) for name in ("paid", "number", "number of rooms", "humid", "hour", "信号", "android", "volcano")]
    [False, False, False, False, False, False, False, False]
    """
    if name.startswith("Unnamed") or name.strip().lower() in ("#", "№", "n°"):
        return True
    words = _words(name)
    if not words:
        return False
    last = words[-1]
    german = last.endswith(_ROWS_END) and not last.endswith(_NO_ROWS)
    if last in _PLACES:
        return places
    if last == "number":  # of a case, of an account; alone it may be any number
        return len(words) > 1
    return last in _ROWS or german or _ROWS_END_IN_CHINESE.search(last) is not None


def names_whose(name: str, *, owners: bool = False) -> bool:
    """Whether a column is called by somebody of whom there may be several rows, such as a patient.

    Args:
        owners: whether words count too that mean it less often, such as a ticket or a group.

    >>> names_whose("patient_no"), names_whose("ticket"), names_whose("ticket", owners=True), names_whose("客户编号")
    (True, False, True, True)
    """
    words = set(_words(name))
    return bool(words & _WHOSE or _OWNERS_PARTS.search(name) or (owners and (words & _OWNERS or "id" in words)))
