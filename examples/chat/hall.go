// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/quartet-go/quartet/reactor"
)

const (
	maxRooms = 1000
	maxNames = 50 // that /who names
)

var (
	errTaken = errors.New("somebody has that name")
	errRooms = errors.New("there are too many rooms")
)

// A hall is all rooms. Its methods may be called on any loop.
type hall struct {
	reactor *reactor.Reactor
	drop    bool // members that are too slow

	mu    sync.Mutex
	rooms map[string]*room // those with somebody in them
	nicks map[string]bool
	guest int // the number of the last who came
}

// A room is its members, and their connections as a group. A message takes no lock of the hall.
type room struct {
	name   string
	group  *reactor.Group
	tooFar func(c *reactor.Conn) // what becomes of who cannot take a line
	missed atomic.Int64          // how often that was

	members map[*member]bool // guarded by the hall's mu
}

func newHall(r *reactor.Reactor, drop bool) *hall {
	return &hall{reactor: r, drop: drop, rooms: make(map[string]*room), nicks: make(map[string]bool)}
}

// enter is the accept func.
func (h *hall) enter(c *reactor.Conn) (reactor.Handler, error) {
	m := &member{hall: h}
	h.mu.Lock()
	for m.nick == "" || h.nicks[m.nick] {
		h.guest++
		m.nick = fmt.Sprintf("guest%d", h.guest)
	}
	h.nicks[m.nick] = true
	h.mu.Unlock()
	if err := m.tell(c, "you are %s; /join ROOM, /nick NAME, /who", m.nick); err != nil {
		h.quit(m, c)
		return nil, err
	}
	return reactor.Frames(lines, m), nil
}

// rename gives m another name.
func (h *hall) rename(m *member, nick string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.nicks[nick] {
		return errTaken
	}
	delete(h.nicks, m.nick)
	h.nicks[nick] = true
	m.nick = nick
	return nil
}

// join has m leave its room for another, which is made if need be.
func (h *hall) join(m *member, c *reactor.Conn, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	to := h.rooms[name]
	if to == nil {
		if len(h.rooms) == maxRooms {
			return errRooms
		}
		to = h.newRoom(name)
	}
	if err := to.group.Add(c); err != nil {
		return err
	}
	if m.room != to {
		h.leaveLocked(m, c)
	}
	h.rooms[name] = to
	to.members[m] = true
	m.room = to
	return nil
}

// leaveLocked takes m out of its room. A connection that has ended has left the group by itself.
func (h *hall) leaveLocked(m *member, c *reactor.Conn) {
	if m.room == nil {
		return
	}
	m.room.group.Remove(c)
	if delete(m.room.members, m); len(m.room.members) == 0 {
		delete(h.rooms, m.room.name)
	}
	m.room = nil
}

// quit takes m out of the hall.
func (h *hall) quit(m *member, c *reactor.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaveLocked(m, c)
	delete(h.nicks, m.nick)
}

// who returns some names of who is in the room, and how many there are.
func (h *hall) who(r *room) (some []string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for m := range r.members {
		if some = append(some, m.nick); len(some) == maxNames {
			break
		}
	}
	return some, len(r.members)
}

func (h *hall) newRoom(name string) *room {
	r := &room{name: name, group: h.reactor.NewGroup(), members: make(map[*member]bool)}
	r.tooFar = func(c *reactor.Conn) {
		r.missed.Add(1)
		if h.drop {
			c.Abort()
		}
	}
	return r
}

// say sends a line to everybody in the room.
func (r *room) say(text []byte) error {
	line, err := reactor.SharedFrame(lines, text)
	if err != nil {
		return err
	}
	return r.group.Write(line, r.tooFar)
}
