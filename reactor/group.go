// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxGroupBacklog is how many bytes of a group's messages wait for one loop at most, but for a single larger message.
const maxGroupBacklog = 16 << 20

// A Group is connections of one reactor that get the same messages. However many members it has, a message costs each
// loop one task, and each member whose output is not waiting one system call for all messages that came together, from
// where they lie. Write and Len may be called from any goroutine, the other methods on the connection's loop.
type Group struct {
	reactor *Reactor
	parts   []*groupPart // of each loop

	mu sync.Mutex // held while a message is given to all loops, which makes one order of them
}

// A groupPart is the members of one loop and the messages on their way to them.
type groupPart struct {
	group *Group
	loop  *loop
	run   func(*Conn, error) // deliver
	size  atomic.Int32       // members

	// Guarded by group.mu.
	waiting []groupMessage
	bytes   int  // of waiting
	posted  bool // deliver is to be run, or runs

	// The loop's own.
	members []*Conn // nil for one that left while messages were delivered
	gaps    bool    // there are such
	batch   []groupMessage
	next    int // the first member that has not had the batch
	end     int // and the first that joined after it
}

type groupMessage struct {
	*Message
	missed func(c *Conn)
}

// A membership is one of a connection's, and where it stands among the members.
type membership struct {
	part *groupPart
	at   int
}

// NewGroup makes a group without members. It needs no end.
func (r *Reactor) NewGroup() *Group {
	g := &Group{reactor: r}
	for _, l := range r.loops {
		p := &groupPart{group: g, loop: l}
		p.run = p.deliver
		g.parts = append(g.parts, p)
	}
	return g
}

// Add makes c a member until Remove or its end: it gets the messages that are written after Add has returned, and
// perhaps the last ones before. Adding twice is adding once. It may be called in the accept func. It fails with
// net.ErrClosed if c has ended, and if c is another reactor's or no stream. On c's loop only.
func (g *Group) Add(c *Conn) error {
	c.assertOnLoop()
	switch {
	case c.loop.r != g.reactor:
		return errors.New("reactor: a group has the connections of one reactor, this is another's")
	case c.peer() != nil:
		return errors.New("reactor: a group has stream connections only, this stands for a peer of datagrams")
	case c.phase != phaseOpen:
		return net.ErrClosed
	}
	p := g.parts[c.loop.index]
	if c.memberOf(p) < 0 {
		x := c.extra()
		x.memberships = append(x.memberships, membership{p, len(p.members)})
		p.members = append(p.members, c)
		p.size.Add(1)
	}
	return nil
}

// Remove ends c's membership, if it is a member. Messages still on their way do not reach it. On c's loop only.
func (g *Group) Remove(c *Conn) {
	c.assertOnLoop()
	if c.loop.r != g.reactor {
		return
	}
	if i := c.memberOf(g.parts[c.loop.index]); i >= 0 {
		c.leaveGroup(i)
	}
}

// Len returns how many members there are.
func (g *Group) Len() (n int) {
	for _, p := range g.parts {
		n += int(p.size.Load())
	}
	return n
}

// Write sends m to all members. Messages of different goroutines come to all of them in the same order. nil means that m
// is on its way, as for Ref.Write.
//
// A member whose output is at its limit (see Conn.WriteShared) misses m and stays; missed, if not nil, is called with
// it, on its loop, like a method of its handler. It says what becomes of the slow: (*Conn).Abort drops them.
//
// Write fails with ErrMailboxFull, for all members alike, while Options.MailboxLimit messages or 16 MiB of them wait for
// one of the loops. After the reactor's end there are no members and it returns nil.
func (g *Group) Write(m *Message, missed func(c *Conn)) error {
	if m.Len() == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.parts {
		if p.full(m) {
			return ErrMailboxFull
		}
	}
	for _, p := range g.parts {
		if p.size.Load() == 0 && !p.posted {
			continue // with others on their way, who joins before they come would miss this one between them and the next
		}
		m.retain(g.reactor)
		p.waiting = append(p.waiting, groupMessage{m, missed})
		p.bytes += m.Len()
		if !p.posted {
			p.post()
		}
	}
	return nil
}

// full says whether the loop has too much to do already. group.mu is held.
func (p *groupPart) full(m *Message) bool {
	return len(p.waiting) >= p.loop.mailbox.limit || p.bytes > 0 && m.Len() > maxGroupBacklog-p.bytes
}

// post has deliver run. When the loop has ended, so have the members. group.mu is held.
func (p *groupPart) post() {
	p.posted = p.loop.post(task{op: opLoop, fn: p.run}, true) == nil
	if !p.posted {
		release(p.waiting)
		p.waiting, p.bytes = nil, 0
	}
}

// deliver gives what waits to the members, to so many in one turn. Each member is a step of its own, in which missed may
// panic or end the goroutine: then the rest has another turn, too.
func (p *groupPart) deliver(_ *Conn, ended error) {
	defer p.delivered()
	if ended != nil {
		p.end = p.next
		return
	}
	for budget := maxTasksPerTurn; budget > 0 && p.begin(); {
		p.loop.giving = p
		for ; p.next < p.end && budget > 0; budget-- {
			c := p.members[p.next]
			p.next++
			if c != nil {
				p.loop.serve(c, (*Conn).takeBatch)
			}
		}
		p.loop.giving = nil
	}
}

// begin takes the next messages that wait and says whether there are any, unless a batch is unfinished.
func (p *groupPart) begin() bool {
	if p.next < p.end {
		return true
	}
	p.finish()
	g := p.group
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(p.waiting), maxParts)
	if n == 0 {
		return false
	}
	p.batch = append(p.batch, p.waiting[:n]...)
	clear(p.waiting[:n])
	if n == len(p.waiting) {
		p.waiting = p.waiting[:0] // to be filled from its start again
	} else {
		p.waiting = p.waiting[n:]
	}
	for _, m := range p.batch {
		p.bytes -= m.Len()
	}
	p.next, p.end = 0, len(p.members)
	return true
}

// finish ends a batch that all members have had.
func (p *groupPart) finish() {
	release(p.batch)
	p.batch = p.batch[:0]
	if !p.gaps {
		return
	}
	p.gaps = false
	n := 0
	for _, c := range p.members {
		if c != nil {
			p.move(c, n)
			n++
		}
	}
	clear(p.members[n:])
	p.members = p.members[:n]
}

// delivered ends deliver, however it ended.
func (p *groupPart) delivered() {
	if p.next == p.end {
		p.finish()
	}
	g := p.group
	g.mu.Lock()
	defer g.mu.Unlock()
	p.posted = false
	if len(p.waiting) > 0 || p.next < p.end {
		p.post()
	}
}

// release gives up the use of messages.
func release(batch []groupMessage) {
	for _, m := range batch {
		m.release()
	}
	clear(batch)
}

// move puts c at another place among the members.
func (p *groupPart) move(c *Conn, to int) {
	p.members[to] = c
	c.rare.memberships[c.memberOf(p)].at = to
}

// memberOf returns which of c's memberships is that in p, -1 for none.
func (c *Conn) memberOf(p *groupPart) int {
	if c.rare == nil {
		return -1
	}
	return slices.IndexFunc(c.rare.memberships, func(m membership) bool { return m.part == p })
}

// leaveGroup ends the i-th of c's memberships.
func (c *Conn) leaveGroup(i int) {
	m := c.rare.memberships[i]
	p := m.part
	p.size.Add(-1)
	if last := len(p.members) - 1; len(p.batch) > 0 {
		p.members[m.at], p.gaps = nil, true // nobody moves, or one would have the batch twice or not at all
	} else {
		p.move(p.members[last], m.at)
		p.members[last] = nil
		p.members = p.members[:last]
	}
	c.rare.memberships = slices.Delete(c.rare.memberships, i, i+1)
}

// leaveGroups ends c's memberships.
func (c *Conn) leaveGroups() {
	for c.rare != nil && len(c.rare.memberships) > 0 {
		c.leaveGroup(len(c.rare.memberships) - 1)
	}
}

// takeBatch is a step: the messages of a group are sent from where they lie. What the socket does not take waits, as far
// as there is room for whole messages.
func (c *Conn) takeBatch() {
	l, p := c.loop, c.loop.giving
	sent := 0
	if c.output == nil && c.mayWrite() == nil {
		var errno unix.Errno
		parts := l.parts[:0]
		offered := 0
		for _, m := range p.batch {
			parts = append(parts, m.buf.B)
			offered += m.Len()
		}
		if len(parts) == 1 {
			sent, errno = send(int(c.fd), parts[0])
		} else {
			sent, errno = l.gatherer.send(int(c.fd), parts)
		}
		c.countWrite(sent, offered, errno)
		clear(parts)
		if c.sendResult(errno); c.flags&fFailed != 0 {
			return
		}
	}
	c.queueBatch(p, sent)
	if c.output != nil {
		c.wrote()
	}
}

// queueBatch has wait what was not sent of the messages, until missed ends the membership.
func (c *Conn) queueBatch(p *groupPart, sent int) {
	for _, m := range p.batch {
		if sent >= m.Len() {
			sent -= m.Len()
			continue
		}
		switch err := c.mayShare(m.Message); {
		case err == nil, sent > 0:
			c.share(m.Message, sent)
		case err == ErrOverflow && m.missed != nil:
			if m.missed(c); c.memberOf(p) < 0 {
				return
			}
		}
		sent = 0
	}
}
