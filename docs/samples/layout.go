// Package layout publishes an event to its partition. docs/contract.md has the rules.
package layout

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Redis is what is used of a client. With go-redis: rdb.Get(ctx, key).Bytes(), nil for redis.Nil, and
// rdb.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: map[string]any{"event": document}}).Result().
type Redis interface {
	// Get returns nil where there is no such key.
	Get(key string) ([]byte, error)
	XAdd(stream string, document []byte) (string, error)
}

// Layout says which partitions there are. Without tags there is one, whose keys have no tag.
type Layout struct {
	Generation int      `json:"generation"`
	Partitions uint32   `json:"partitions"`
	Tags       []string `json:"tags"`
	Closed     bool     `json:"closed"`
	// Large apps, whose channels are spread over the partitions.
	Spread []string `json:"spread"`
}

var ofChannels = map[string]bool{
	"channel.read": true, "channel.updated": true, "member.added": true, "member.removed": true, "members.replaced": true,
	"message.deleted": true, "message.new": true, "message.updated": true, "ptt.speaking": true,
}

// Channel is the channel that an event is about; "": none, it goes to the app's home. Only for spread apps it makes a difference.
func Channel(document []byte) string {
	var event struct {
		Type    string
		Channel json.RawMessage
	}
	var channel struct{ ID string }
	if json.Unmarshal(document, &event) != nil || !ofChannels[event.Type] || json.Unmarshal(event.Channel, &channel) != nil {
		return ""
	}
	return channel.ID
}

// Parse reads the value of carillon:layout; nil: there is none.
func Parse(value []byte) (Layout, error) {
	found := Layout{Generation: 1, Partitions: 1}
	if value == nil {
		return found, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(value))
	// A field of a later release may change where events go.
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&found); err != nil {
		return found, fmt.Errorf("carillon:layout: %w", err)
	}
	if found.Partitions == 0 || len(found.Tags) > 0 && len(found.Tags) != int(found.Partitions) {
		return found, errors.New("carillon:layout: its tags are not those of its partitions")
	}
	return found, nil
}

// IsSpread says whether the app's channels are spread over the partitions.
func (l Layout) IsSpread(app string) bool {
	for _, one := range l.Spread {
		if one == app {
			return true
		}
	}
	return false
}

// Partition is the number of the partition of this channel of the app, or with "" of the one that the app lives in.
func (l Layout) Partition(app, channel string) uint32 {
	hashed := app
	if channel != "" && l.IsSpread(app) {
		hashed += "\x00" + channel
	}
	sum := sha256.Sum256([]byte(hashed))
	return binary.BigEndian.Uint32(sum[:4]) % l.Partitions
}

// Stream is where the app's events about this channel go, or with "" its other events.
func (l Layout) Stream(app, channel string) string {
	if len(l.Tags) == 0 {
		return "carillon:events"
	}
	inlet := "carillon:{" + l.Tags[l.Partition(app, channel)] + "}:events"
	if l.IsSpread(app) {
		return inlet + ":" + app
	}
	return inlet
}

// Publisher may be used by many goroutines.
type Publisher struct {
	Redis Redis
	// How long a call waits while the partitions are changed.
	Timeout time.Duration

	lock   sync.Mutex
	layout Layout
	until  time.Time
}

// Publish puts the document on its stream and returns the entry's id. It may be published again: its id makes that harmless.
func (p *Publisher) Publish(app string, document []byte) (string, error) {
	ends := time.Now().Add(p.Timeout)
	for {
		layout, err := p.read()
		if err != nil {
			return "", err
		}
		if !layout.Closed {
			entry, err := p.Redis.XAdd(layout.Stream(app, Channel(document)), document)
			// The stream was closed with the layout of before; nothing was written.
			if err == nil || !strings.HasPrefix(err.Error(), "WRONGTYPE") {
				return entry, err
			}
		}
		p.forget()
		if time.Now().After(ends) {
			return "", errors.New("the partitions are being changed: publish the event again")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (p *Publisher) read() (Layout, error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if time.Now().Before(p.until) {
		return p.layout, nil
	}
	value, err := p.Redis.Get("carillon:layout")
	if err != nil {
		return Layout{}, err
	}
	if p.layout, err = Parse(value); err == nil {
		p.until = time.Now().Add(2 * time.Second)
	}
	return p.layout, err
}

func (p *Publisher) forget() {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.until = time.Time{}
}
