// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package offload

// Buffered is how many bytes of frames and replies the pool keeps.
func (p *Pool) Buffered() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buffered
}

// Goroutines is how many workers there are.
func (p *Pool) Goroutines() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workers
}

// Queues is how many connections have one.
func (p *Pool) Queues() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queues)
}

// Outstanding is how much work has not been delivered.
func (p *Pool) Outstanding() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.queues {
		n += len(q.items)
	}
	return n
}

// Closed says whether Close was called.
func (p *Pool) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}
