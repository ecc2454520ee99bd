// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package docs_test holds the documentation to its links.
package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("../*.md")
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			pages = append(pages, path)
		}
		return err
	}))
	require.Contains(t, pages, "../README.md")
	require.Contains(t, pages, "README.md")
	for _, page := range pages {
		require.Empty(t, broken(t, page), page)
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	write("there.md", "# One `two`, three's\n\n```\n# no heading\n```\n\n## Twice\n\n## Twice\n")
	page := write("page.md", `# Here
[a](there.md) ![a](there.md) [a](#here) [a](there.md#one-two-threes) [a](there.md#twice-1) [a](.) [a](https://example.org/x)
[b](gone.md) ![b](gone.svg) [b](#gone) [b](there.md#no-heading) [b](there.md#twice-2)
`+"`[c](code)`\n```\n[c](code)\n```\n")
	require.Equal(t, []string{"gone.md", "gone.svg", "#gone", "there.md#no-heading", "there.md#twice-2"}, broken(t, page))
}

var (
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fenced = regexp.MustCompile("(?ms)^```.*?^```$")
	code   = regexp.MustCompile("`[^`\n]+`")
)

// broken returns a page's links to files and to headings that are not there. What is beyond the network is not asked.
func broken(t *testing.T, page string) (targets []string) {
	text := code.ReplaceAllString(prose(t, page), "")
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		file, anchor, _ := strings.Cut(m[1], "#")
		if strings.Contains(file, "://") {
			continue
		}
		path := page
		if file != "" {
			path = filepath.Join(filepath.Dir(page), file)
		}
		if _, err := os.Stat(path); err != nil || anchor != "" && !headings(t, path)[anchor] {
			targets = append(targets, m[1])
		}
	}
	return targets
}

// prose is a page less its fenced blocks.
func prose(t *testing.T, page string) string {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	return fenced.ReplaceAllString(string(text), "")
}

var (
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// headings are the anchors that GitHub gives the headings of a page.
func headings(t *testing.T, page string) map[string]bool {
	anchors := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(prose(t, page), -1) {
		slug := strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		anchor := slug
		for n := 1; anchors[anchor]; n++ {
			anchor = fmt.Sprintf("%s-%d", slug, n)
		}
		anchors[anchor] = true
	}
	return anchors
}
