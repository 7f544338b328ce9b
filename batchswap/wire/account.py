"""What an account has, what a task would cost, and where its files go."""

from typing import Any

import msgspec

from batchswap.wire.values import mapping, number, price, text


class Balance(msgspec.Struct, frozen=True):
    """`data` of the balance call, in credits; fractions occur."""

    balance: float | None

    @classmethod
    def from_json(cls, data: Any) -> "Balance":
        return cls(number(mapping(data).get("balance")))

    def to_json(self) -> dict[str, Any]:
        return {"balance": self.balance}


class Estimate(msgspec.Struct, frozen=True):
    """`data` of EstimateTask. None where the API does not say."""

    estimated_credits: float | None
    balance: float | None = None
    affordable: bool | None = None

    @classmethod
    def from_json(cls, data: Any) -> "Estimate":
        found = mapping(data)
        affordable = found.get("affordable")
        return cls(
            price(found.get("estimated_credits")),
            number(found.get("balance")),
            affordable if isinstance(affordable, bool) else None,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "estimated_credits": self.estimated_credits,
            "balance": self.balance,
            "affordable": self.affordable,
        }


class UploadUrl(msgspec.Struct, frozen=True):
    """`data` of upload-url: PUT the bytes to `presigned_url`, then use `file_url` as the input."""

    presigned_url: str
    file_url: str

    @classmethod
    def from_json(cls, data: Any) -> "UploadUrl":
        found = mapping(data)
        return cls(text(found.get("presigned_url")), text(found.get("file_url")))

    def to_json(self) -> dict[str, Any]:
        return {"presigned_url": self.presigned_url, "file_url": self.file_url}
