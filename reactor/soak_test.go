// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && soak

package reactor_test

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A storm of more than a hundred thousand events, of hundreds of connections at a time.
func TestSoakStorm(t *testing.T) {
	seed := stormSeed(t)
	forEachTransport(t, func(t *testing.T, tr transport) {
		st := newStorm(t, tr, seed, 20)
		st.rage(300, 30_000)
		st.calm()
	})
}

// Servers that shut down in the midst of a storm, after all sorts of times and with all sorts of patience.
func TestSoakStormShutdown(t *testing.T) {
	seed := stormSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	forEachTransport(t, func(t *testing.T, tr transport) {
		for range 10 {
			newStorm(t, tr, rnd.Uint64(), 18).sink(200, rnd.Int64N(2000), time.Duration(rnd.IntN(300))*time.Millisecond)
		}
	})
}
