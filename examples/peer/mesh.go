// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
)

// Who dials sends its name, who was dialled answers with its own: one frame each.
var frames = codec.LengthPrefix(2, 1<<10)

// retryAfter is the pause before a peer that is not there yet is dialled again.
const retryAfter = 50 * time.Millisecond

// A mesh is what this peer knows of the others.
type mesh struct {
	reactor *reactor.Reactor
	ctx     context.Context
	name    string
	done    func() // called when all peers have been heard

	mu    sync.Mutex // connections are on all loops
	peers []*peer
}

// A peer is one of the others. The mesh's mu is over it.
type peer struct {
	name     string
	dials    int  // how often it was dialled
	greeted  bool // it has sent its name to us, and we answered
	answered bool // it has answered us
}

func newMesh(ctx context.Context, r *reactor.Reactor, name string, peers []string, done func()) *mesh {
	m := &mesh{reactor: r, ctx: ctx, name: name, done: done}
	for _, p := range peers {
		m.peers = append(m.peers, &peer{name: p})
	}
	return m
}

// network returns the network of an address.
func network(address string) string {
	if strings.Contains(address, "/") {
		return "unix"
	}
	return "tcp"
}

// dial greets a peer, now or when it is there.
func (m *mesh) dial(p *peer) {
	m.mu.Lock()
	p.dials++
	m.mu.Unlock()
	err := m.reactor.Dial(m.ctx, network(p.name), p.name, func(c *reactor.Conn, err error) (reactor.Handler, error) {
		if err != nil {
			m.dialLater(p)
			return nil, err
		}
		return reactor.Frames(frames, &dialled{mesh: m, peer: p}), c.Send(frames, []byte(m.name))
	}, nil)
	if err != nil && m.ctx.Err() == nil {
		m.dialLater(p)
	}
}

func (m *mesh) dialLater(p *peer) { time.AfterFunc(retryAfter, func() { m.dial(p) }) }

// dialled is the handler of a connection to a peer.
type dialled struct {
	reactor.FrameBase
	mesh *mesh
	peer *peer
	ok   bool
}

// Frame hears the answer.
func (d *dialled) Frame(c *reactor.Conn, name []byte) error {
	if string(name) != d.peer.name {
		return fmt.Errorf("%q answers at the address of %q", name, d.peer.name)
	}
	d.ok = true
	d.mesh.heard(d.peer, &d.peer.answered)
	return c.Close()
}

// Close tries again if there was no answer.
func (d *dialled) Close(*reactor.Conn, error) {
	if !d.ok {
		d.mesh.dialLater(d.peer)
	}
}

// accept makes the handler of a connection from a peer.
func (m *mesh) accept(*reactor.Conn) (reactor.Handler, error) {
	return reactor.Frames(frames, reactor.FrameFunc(func(c *reactor.Conn, name []byte) error {
		i := slices.IndexFunc(m.peers, func(p *peer) bool { return p.name == string(name) })
		if i < 0 {
			return fmt.Errorf("%q is no peer of ours", name)
		}
		if err := c.Send(frames, []byte(m.name)); err != nil {
			return err
		}
		m.heard(m.peers[i], &m.peers[i].greeted)
		return nil
	})), nil
}

// heard notes one of the two ways in which a peer is heard.
func (m *mesh) heard(p *peer, way *bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if *way {
		return
	}
	if *way = true; p.greeted && p.answered {
		fmt.Printf("%s greeted and answered, %d dials\n", p.name, p.dials)
	}
	if m.complete() {
		m.done()
	}
}

func (m *mesh) complete() bool {
	return !slices.ContainsFunc(m.peers, func(p *peer) bool { return !p.greeted || !p.answered })
}

// missing tells who was not heard.
func (m *mesh) missing() (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.peers {
		if !p.greeted || !p.answered {
			err = errors.Join(err, fmt.Errorf("%s: greeted us %t, answered %t, dials %d", p.name, p.greeted, p.answered, p.dials))
		}
	}
	return err
}
