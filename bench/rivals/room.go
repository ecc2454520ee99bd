// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import "sync"

// A room is the open connections of the broadcast service.
type room[C comparable] struct {
	mu      sync.Mutex // held while a message is given to all, which makes one order
	members []C
	at      map[C]int
}

func newRoom[C comparable]() *room[C] { return &room[C]{at: make(map[C]int)} }

func (r *room[C]) join(c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at[c] = len(r.members)
	r.members = append(r.members, c)
}

func (r *room[C]) leave(c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, ok := r.at[c]
	if !ok {
		return
	}
	last := len(r.members) - 1
	r.members[i] = r.members[last]
	r.at[r.members[i]] = i
	r.members = r.members[:last]
	delete(r.at, c)
}

// each calls f for every connection.
func (r *room[C]) each(f func(C)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.members {
		f(c)
	}
}
