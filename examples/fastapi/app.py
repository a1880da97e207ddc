"""Notes in a database: FastAPI, SQLAlchemy, and a pool of connections that lives from startup to shutdown."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateTable

DATABASE = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///notes.db")


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class State(TypedDict):
    sessions: async_sessionmaker[AsyncSession]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    # In each worker, after the fork: a pool of connections must not be shared between processes.
    engine = create_async_engine(DATABASE)
    async with engine.begin() as connection:
        # Two workers may do this at once, for which create_all(), which looks first, is no help. Real services migrate
        # before they start.
        for table in Base.metadata.sorted_tables:
            await connection.execute(CreateTable(table, if_not_exists=True))
    # What is yielded is request.state of each request.
    yield {"sessions": async_sessionmaker(engine, expire_on_commit=False)}
    # At a stop: after the last request, within graceful_timeout.
    await engine.dispose()


app = FastAPI(title="Notes", lifespan=lifespan)


async def session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.state.sessions() as one:
        yield one


Session = Annotated[AsyncSession, Depends(session)]


class Note(BaseModel):
    text: str


class Saved(Note):
    id: int


@app.post("/notes", status_code=201)
async def add(note: Note, session: Session) -> Saved:
    row = Row(text=note.text)
    session.add(row)
    await session.commit()
    return Saved(id=row.id, text=row.text)


@app.get("/notes")
async def all_notes(session: Session) -> list[Saved]:
    rows = await session.scalars(select(Row).order_by(Row.id))
    return [Saved(id=row.id, text=row.text) for row in rows]


@app.get("/notes/{number}")
async def one_note(number: int, session: Session) -> Saved:
    row = await session.get(Row, number)
    if row is None:
        raise HTTPException(404, "There is no such note.")
    return Saved(id=row.id, text=row.text)


@app.get("/health")
async def health(session: Session) -> dict[str, str]:
    await session.execute(select(1))
    return {"status": "ok"}
