"""Verb tables of the embedded corpus. Pure data, most frequent first within a table."""

# German: infinitive with "|" behind a separable prefix, third person singular, participle ("-": regular), "s" for sein
FORMS = """
sein ist gewesen s
haben hat gehabt
lesen liest gelesen
schreiben - geschrieben
essen isst gegessen
trinken - getrunken
geben gibt gegeben
gehen - gegangen s
kommen - gekommen s
fahren fährt gefahren s
fliegen - geflogen s
laufen läuft gelaufen s
schlafen schläft geschlafen
sehen sieht gesehen
finden - gefunden
helfen hilft geholfen
nehmen nimmt genommen
treffen trifft getroffen
sprechen spricht gesprochen
tragen trägt getragen
bleiben - geblieben s
singen - gesungen
schwimmen - geschwommen s
sitzen - gesessen
stehen - gestanden
liegen - gelegen
fallen fällt gefallen s
halten hält gehalten
denken - gedacht
bringen - gebracht
kennen - gekannt
rufen - gerufen
ziehen - gezogen
schließen - geschlossen
verlieren - verloren
vergessen vergisst vergessen
gewinnen - gewonnen
beginnen - begonnen
verstehen - verstanden
bekommen - bekommen
verlassen verlässt verlassen
versprechen verspricht versprochen
empfehlen empfiehlt empfohlen
gefallen gefällt gefallen
gießen - gegossen
schlagen schlägt geschlagen
fangen fängt gefangen
laden lädt geladen
waschen wäscht gewaschen
werfen wirft geworfen
leihen - geliehen
steigen - gestiegen s
schneiden - geschnitten
brechen bricht gebrochen
betreten betritt betreten
streichen - gestrichen
backen bäckt gebacken
fressen frisst gefressen
stehlen stiehlt gestohlen
folgen - - s
reisen - - s
ziehen.s - gezogen s
beißen - gebissen
bellen - gebellt
übernehmen übernimmt übernommen
überfallen überfällt überfallen
entscheiden - entschieden
verschieben - verschoben
binden - gebunden
schießen - geschossen
zerreißen - zerrissen
mögen mag gemocht
wissen weiß gewusst
beschließen - beschlossen
ab|reisen - - s
um|ziehen - gezogen s
aus|ziehen.s - gezogen s
auf|stehen - gestanden s
ein|schlafen schläft geschlafen s
schleifen - geschliffen
auf|wachen - - s
begegnen - begegnet s
"""

# German; English; subject kinds; complements. A verb may stand several times: the kinds decide on the translation.
# Complements: A accusative object, D dative that is a plain object in English, I dative before the English object,
# T dative that English puts behind the object with "to", P:german preposition:case:english preposition:kinds,
# N:nach:to a town, W dative that is the
# subject in English, whose object is the German subject; @kind a place of that kind, in or at it.
FRAMES = """
lesen; read; human; A:text
kaufen; buy; human; A:goods
sehen; see; human; A:visible
suchen; look for; human; A:goods family animal
trinken; drink; human; A:drink
treffen; meet; human; A:human
schreiben; write; human; A:text
besuchen; visit; human; A:human visitable castle
haben; have; human; A:goods animal family
finden; find; human; A:goods animal
essen; eat; human; A:edible
geben; give; human; I:human; A:goods
helfen; help; human; D:human
auf|stehen; get up; human
arbeiten; work; human; @place
wohnen; live; human; @building
spielen; play; human; A:instrument
warten; wait; human; P:auf:acc:for:human vehicle
schlafen; sleep; human animal; @building
an|rufen; call; human; A:human
ab|holen; pick up; human; A:human parcel
sprechen; talk; human; P:mit:dat:to:human
auf|machen; open; human; A:opening
verkaufen; sell; human; I:human; A:goods
mögen; like; human; A:music animal edible place
ein|laden; invite; human; A:human
zeigen; show; human; I:human; A:goods building
fahren; drive; human; N:nach:to
gehen; go; human; P:zu:dat:to:place event
kennen; know; human; A:human place
brauchen; need; human; A:goods money
kommen; come; human; P:aus:dat:out of:site
an|kommen; arrive; human vehicle; @place
reparieren; repair; human; A:device vehicle instrument
verlieren; lose; human; A:goods
vergessen; forget; human; A:goods news event
malen; paint; human; A:painted
gehören; belong; goods building animal business; T:human
gefallen; like; thing clothing text music building place idea event; W:human
schmecken; like; food edible drink dish; W:human
hören; hear; human; A:music sound
auf|räumen; tidy up; human; A:room
an|ziehen; put on; human; A:clothing
aus|ziehen; take off; human; A:clothing
tragen; wear; human; A:clothing headwear
tragen; carry; human; A:thing container parcel
an|machen; turn on; human; A:device
aus|machen; turn off; human; A:device
zu|machen; close; human; A:opening
bezahlen; pay for; human; A:goods edible
kochen; cook; human; A:dish food
laufen; run; human animal; P:durch:acc:through:place
fliegen; fly; human; N:nach:to
reisen; travel; human; N:nach:to
bestellen; order; human; A:dish drink food goods
bekommen; get; human; A:goods parcel
verstehen; understand; human; A:task idea text
erzählen; tell; human; I:human; A:story
bringen; bring; human; I:human; A:goods food drink
schicken; send; human; I:human; A:text parcel goods
erklären; explain; human; T:human; A:task idea
danken; thank; human; D:human
mit|bringen; bring; human; A:goods food drink
mit|nehmen; take along; human; A:goods animal
vor|bereiten; prepare; human; A:event speech task
nach|denken; think; human; P:über:acc:about:idea task
teil|nehmen; take part; human; P:an:dat:in:event
statt|finden; take place; event; @place
ein|kaufen; shop; human; @place
fern|sehen; watch television; human
zurück|kommen; come back; human; P:aus:dat:from:site
zurück|geben; give back; human; A:goods
weg|werfen; throw away; human; A:goods sheet
vor|lesen; read; human; T:human; A:text
aus|leihen; borrow; human; A:text vehicle thing device
leihen; lend; human; I:human; A:goods money
zu|hören; listen to; human; D:human
zu|sehen; watch; human; D:human animal
ein|schlafen; fall asleep; human animal
auf|wachen; wake up; human animal
aus|steigen; get out; human; P:aus:dat:of:vehicle
ein|steigen; get; human; P:in:acc:into:vehicle
ab|fahren; depart; vehicle; P:von:dat:from:place
um|ziehen; move; human; N:nach:to
ziehen.s; move; human; N:nach:to
ziehen; pull; human animal; A:cart
an|fangen; begin; event
auf|hören; end; event
beginnen; begin; event
auf|geben; give up; human; A:habit
auf|geben; mail; human; A:parcel
ab|nehmen; take off; human; A:headwear
ab|nehmen; lose weight; human
ein|stellen; hire; human business; A:worker manager
ein|stellen; adjust; human; A:device lens
auf|nehmen; record; human; A:music sound
auf|nehmen; take in; family; A:animal
führen; run; human; A:business
führen; lead; human; A:group
halten; give; human; A:speech
halten; hold; human; A:thing bouquet
schlagen; beat; opponent; A:opponent
treffen; hit; human; A:target
gießen; water; human; A:plant
gießen; pour; human; A:drink
aus|ziehen.s; move out; human; P:aus:dat:of:building castle
unter|gehen; set; sky
auf|gehen; rise; sky
auf|gehen; open; opening gate
gehen; work; device
stehen; stand; vehicle animal; P:vor:dat:in front of:building castle bank
liegen; lie; text clothing thing; P:auf:dat:on:bench blanket
liegen; lie; animal; P:unter:dat:under:bench blanket pine
sitzen; sit; human; P:auf:dat:on:bench
streichen; paint; human; A:bench ceiling gate
überfallen; rob; human; A:bank
besichtigen; visit; human; A:castle building
knacken; pick; human; A:lock
aus|wechseln; replace; human; A:lock tap bulb spring lens
steigen; climb; human; P:auf:acc:up:ladder
begrüßen; greet; human; A:manager human
vertrauen; trust; human; D:manager human
formen; shape; human; A:clay
hören; hear; human animal; A:sound
binden; tie; human; A:bouquet
füttern; feed; human; A:animal ostrich rooster snake
schälen; peel; human; A:pear food
ein|schrauben; screw in; human; A:bulb
krähen; crow; rooster
tropfen; drip; tap
zu|drehen; turn off; human; A:tap
studieren; study; human; A:map
kaufen; buy; human; A:ticket
falten; fold; human; A:map sheet clothing
senken; lower; government; A:tax
zahlen; pay; human; A:tax
übernehmen; take; human; A:wheel
schießen; score; opponent; A:goal
schließen; close; human; A:gate opening
fallen; fall; leaf; P:von:dat:from:pine plant
zerreißen; tear up; human; A:sheet text
kosten; taste; human; A:dish
entscheiden; decide; court
beißen; bite; snake; A:human animal
stehen; stand; human; P:in:dat:in:line
brechen; break; rooster ostrich; A:wing
spielen; play; human; A:piano
untersuchen; examine; human; A:jaw
fällen; cut down; human; A:pine plant
kochen; cook; human; A:lentil
polieren; polish; human; A:lens thing
bekommen; get; human; A:grade
singen; sing; human; A:note
verlieren; lose; ostrich rooster; A:feather
waschen; wash; human; A:clothing vehicle
werfen; throw; human; A:thing; P:in:acc:into:water
fangen; catch; animal; A:animal
bellen; bark; dog
fressen; eat; animal; A:food
jagen; chase; animal; A:animal
stehlen; steal; human; A:goods
putzen; clean; human; A:opening thing
pflanzen; plant; human; A:plant
bauen; build; human business; A:building castle
verlassen; leave; human; A:site
betreten; enter; human; A:site
empfehlen; recommend; human; T:human; A:dish text
versprechen; promise; human; I:human; A:goods
begegnen; meet; human; D:human
gratulieren; congratulate; human; D:human
schwimmen; swim; human animal; @water
tanzen; dance; human; P:mit:dat:with:human
lachen; laugh; human; P:über:acc:about:idea
träumen; dream; human; P:von:dat:of:idea
glauben; believe; human; D:human
antworten; answer; human; D:human
folgen; follow; human animal; D:human animal
schneiden; cut; human; A:edible
backen; bake; human; A:baked
gewinnen; win; human; A:event
verpassen; miss; human; A:vehicle event
überqueren; cross; human; A:crossing
mieten; rent; human; A:building vehicle
renovieren; renovate; human; A:building
beobachten; watch; human; A:animal human
fotografieren; photograph; human; A:visible
stimmen; tune; human; A:instrument piano
flicken; mend; human; A:clothing
bügeln; iron; human; A:clothing
schleifen; sharpen; human; A:knife
überlegen; consider; human; A:idea
ab|sagen; cancel; human; A:event
verschieben; postpone; human; A:event
"""

# verbs with a clause with zu
WITH_ZU = "versuchen try|hoffen hope|vergessen forget|beschließen decide|planen plan|versprechen promise"
# verbs with a dass clause
WITH_DASS = "glauben think|wissen know|hoffen hope|sagen say|hören hear|vermuten suspect|behaupten claim"
SUBJUNCTIONS = "weil because|wenn when|obwohl although|bevor before|während while"

# English base, past, participle
ENGLISH_IRREGULAR = """
be was been
have had had
do did done
read read read
buy bought bought
see saw seen
drink drank drunk
meet met met
write wrote written
find found found
eat ate eaten
give gave given
get got gotten
sleep slept slept
sell sold sold
drive drove driven
go went gone
know knew known
come came come
lose lost lost
forget forgot forgotten
hear heard heard
put put put
take took taken
wear wore worn
pay paid paid
run ran run
fly flew flown
understand understood understood
tell told told
bring brought brought
send sent sent
think thought thought
throw threw thrown
lend lent lent
fall fell fallen
begin began begun
hold held held
beat beat beaten
hit hit hit
set set set
rise rose risen
stand stood stood
lie lay lain
sit sat sat
feed fed fed
lead led led
tear tore torn
bite bit bitten
break broke broken
cut cut cut
sing sang sung
catch caught caught
steal stole stolen
build built built
leave left left
swim swam swum
dream dreamed dreamed
bake baked baked
win won won
say said said
speak spoke spoken
shut shut shut
quit quit quit
"""

# English verbs for states: no progressive, no "would like to", no manner
STATIVE = (
    "like", "have", "know", "need", "belong", "understand", "believe", "trust", "lie", "stand", "sit", "see", "hear",
    "find", "get", "lose", "work", "require",
)  # fmt: skip

# English verbs that vary freely, as in lexicon.SYNONYMS
SYNONYMS = """
buy purchase
look_for search_for
get receive
begin start
end stop
talk speak
close shut
pick_up collect
give_back return
tidy_up clean_up
turn_off switch_off
turn_on switch_on
give_up quit
repair fix
hire employ
watch observe
cancel call_off
take_part participate
chase hunt
throw_away discard
need require
find discover
show present
depart leave
follow pursue
"""
